"""tracking.log, what happened while tracking, and tracking.json, the problems that the user should know of."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hwcls import files
from hwcls.escape import printable
from hwcls.reading import read_json, read_or_none
from hwcls.tracking.folders import SweepFolder

LOG = "tracking.log"
PROBLEMS = "tracking.json"


@contextmanager
def log_tracking(sweep: SweepFolder) -> Iterator[None]:
    """Append what hwcls logs to the sweep's tracking.log while the block runs, one line each."""
    sweep.path.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(sweep.path / LOG, encoding="utf-8", delay=True)
    handler.setFormatter(_OneLine("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logger = logging.getLogger("hwcls")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


def write_problems(sweep: SweepFolder, problems: Sequence[str]) -> None:
    """Write tracking.json, in place of earlier problems."""
    files.write_json(sweep.path / PROBLEMS, list(problems))


def read_problems(sweep: SweepFolder) -> list[str]:
    """The problems in tracking.json, none where it is missing or damaged."""
    return read_or_none(read_json, sweep.path / PROBLEMS, list[str]) or []


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(" ".join(super().format(record).split()))
