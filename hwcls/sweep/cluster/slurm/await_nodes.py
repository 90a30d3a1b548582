"""Wait until all nodes of a job have joined its Ray: `python -m hwcls.sweep.cluster.slurm.await_nodes ADDRESS ...`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence

from hwcls.errors import UserError
from hwcls.format import format_count

POLL = 1.0  # seconds between two looks


def await_nodes(count: Callable[[], int], nodes: int, seconds: float, processes: Sequence[int]) -> None:
    """Wait until `count` gives the number of nodes.

    Args:
        count: How many nodes have joined.
        nodes: How many are to join.
        seconds: To wait at most.
        processes: Those that hold Ray on the nodes; the end of one ends the wait.

    Raises:
        UserError: They do not join, or not in time.
    """
    deadline = time.monotonic() + seconds
    while (joined := count()) < nodes:
        missing = f"{joined} of {format_count(nodes, 'node')} joined Ray"
        if not all(map(_lives, processes)):
            raise UserError(f"{missing}, and it has ended on one", remedy="its reason is above")
        if time.monotonic() > deadline:
            remedy = "do the nodes reach each other, and is `python` of this script on all of them?"
            raise UserError(f"{missing} within {seconds:.0f} s", remedy=remedy)
        time.sleep(POLL)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--processes", type=int, nargs="*", default=())
    options = parser.parse_args()
    from hwcls.sweep.cluster.connect import alive_nodes, connected

    try:
        with connected(options.address):
            await_nodes(lambda: len(alive_nodes()), options.nodes, options.seconds, options.processes)
    except UserError as error:
        print(f"hwcls: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
