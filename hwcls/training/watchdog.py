"""The pulse of a training process: where no step ends for too long, it says where it stands and ends itself."""

from __future__ import annotations

import faulthandler
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

_watch: _Watch | None = None


class _Watch:
    """The timer of faulthandler, a thread in C that no Python code can hold up."""

    def __init__(self, limit: float, file: IO[Any]) -> None:
        self.limit, self.file = limit, file
        self.again = min(1.0, limit / 4)  # seconds: setting the timer with every step would cost more than it tells
        self.set_at = 0.0
        self.set()

    def set(self) -> None:
        now = time.monotonic()
        if now - self.set_at > self.again:
            self.set_at = now
            faulthandler.dump_traceback_later(self.limit, file=self.file, exit=True)


def reset_timer() -> None:
    """Say that a step or a scored batch has ended; nothing where nobody watches."""
    if _watch is not None:
        _watch.set()


@contextmanager
def watch(limit: float, file: IO[Any]) -> Iterator[None]:
    """While the block runs: `limit` seconds without a beat write where each thread stands to `file` and end the
    process, with exit code 1, whatever it waits for."""
    global _watch
    _watch = _Watch(limit, file)
    try:
        yield
    finally:
        _watch = None
        faulthandler.cancel_dump_traceback_later()


def hung_location(dump: str) -> str:
    """The innermost line of the main thread in what `watched` wrote: file.py:12 in forward."""
    main = dump.rstrip().rsplit("\n\n", 1)[-1]  # faulthandler writes the oldest thread last
    found = re.search(r'File "(.+)", line (\d+) in (\S+)', main)
    return f"{found[1]}:{found[2]} in {found[3]}" if found else "an unknown place"
