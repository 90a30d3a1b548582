"""Watchdog of a training process: if no step finishes within a limit, it dumps all stacks and exits."""

from __future__ import annotations

import faulthandler
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any

from filelock import FileLock, Timeout

from hwcls.format import format_duration

LEAST = 600.0  # seconds that a first epoch, in which kernels are compiled, building, loading and saving may take
_watch: _Watch | None = None


class _Watch:
    """The timer of faulthandler, a C thread that Python code cannot block."""

    def __init__(self, limit: float, file: IO[Any]) -> None:
        self.limit, self.file = limit, file
        self.interval = min(1.0, limit / 4)  # seconds between resets: one per step would cost too much
        self.set_at = 0.0
        self.set()

    def set(self) -> None:
        now = time.monotonic()
        if now - self.set_at > self.interval:
            self.set_at = now
            faulthandler.dump_traceback_later(self.limit, file=self.file, exit=True)


def reset_timer() -> None:
    """Call after each step and scored batch; does nothing outside `watch`."""
    if _watch is not None:
        _watch.set()


@contextmanager
def waiting_for(lock: FileLock) -> Iterator[None]:
    """Within the block the lock is held; to wait for a process that holds it, and works, is not to hang."""
    while not lock.is_locked:
        reset_timer()
        with suppress(Timeout):
            lock.acquire(timeout=_watch.interval if _watch else -1)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def watch(limit: float, file: IO[Any]) -> Iterator[None]:
    """Within the block, `limit` seconds without `reset_timer` dump the stacks of all threads to `file` and end the
    process with exit code 1."""
    global _watch
    _watch = _Watch(limit, file)
    try:
        yield
    finally:
        _watch = None
        faulthandler.cancel_dump_traceback_later()


def hung_location(dump: str) -> str:
    """The innermost line of the main thread in a dump of `watch`: file.py:12 in forward."""
    main = dump.rstrip().rsplit("\n\n", 1)[-1]  # faulthandler writes the oldest thread last
    found = re.search(r'File "(.+)", line (\d+) in (\S+)', main)
    return f"{found[1]}:{found[2]} in {found[3]}" if found else "an unknown place"


def describe_hang(dumps: Mapping[int, str]) -> str:
    """From the dumps of ranks, by rank, how long no step finished and where they were; empty where none hung."""
    hung = {rank: dump for rank, dump in dumps.items() if dump.strip()}
    if not hung:
        return ""
    places = ", ".join(f"rank {rank} was at {hung_location(dump)}" for rank, dump in hung.items())
    return f"hung: no step finished in {format_duration(max(map(_limit, hung.values())))}; {places}"


def _limit(dump: str) -> float:
    """The limit that a dump begins with, in seconds: Timeout (0:10:00)!"""
    found = re.match(r"Timeout \((\d+):(\d+):([\d.]+)\)", dump)
    return sum(float(part) * unit for part, unit in zip(found.groups(), (3600, 60, 1), strict=True)) if found else 0.0
