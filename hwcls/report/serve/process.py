"""`hwcls sweep --serve`: the server in a process beside the driver, which it neither slows nor outlives.

Run as `python -m hwcls.report.serve.process DIR DESCRIPTOR`. It ends when its standard input closes, which also
happens when the driver is killed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hwcls.report.serve.listen import DEFAULT_PORT, address, listen_on_any

PORTS = range(DEFAULT_PORT, DEFAULT_PORT + 20)  # the first that is free is taken
NICE = 15  # as the tracking process: it may wait, trials do not
SECONDS = 10.0  # that it may take to end


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the sweeps of a folder, which may not exist yet, while the block runs; yields the address."""
    with listen_on_any(PORTS) as listening:
        # -P: a file of the working folder, such as token.py, is no module of Python
        command = [sys.executable, "-P", "-m", "hwcls.report.serve.process", str(folder), str(listening.fileno())]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(listening.fileno(),),
            start_new_session=True,  # Ctrl-C is for the driver
        )
        found = address(listening)
    try:
        yield found
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close the input of the server, which then ends."""
    try:
        process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main(arguments: list[str]) -> None:
    """Serve until standard input ends."""
    from hwcls.report.serve.server import serve

    os.nice(NICE)
    folder, listening = Path(arguments[0]), socket.socket(fileno=int(arguments[1]))
    with serve(folder, listening) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main(sys.argv[1:])
