"""How far a long task is: every step for a listener that draws a bar, a line now and then for any other."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

SAY_EVERY = 2.0  # seconds
Progress = Callable[[str], None]  # told one line now and then


@runtime_checkable
class Bar(Protocol):
    """A Progress that wants every step."""

    def __call__(self, line: str) -> None:
        """Told one line."""

    def step(self, task: str, done: int, total: int) -> None:
        """Told that `done` of `total` units of `task` are done."""


class Meter:
    """Tells `progress` how far `task` is.

    Args:
        total: Of all units; 0 where it is not known, and then nothing is told.
        unit: What stands behind the total in a line, of `scale` units each.
    """

    def __init__(self, progress: Progress, task: str, total: int, unit: str, scale: float = 1) -> None:
        self.progress, self.task, self.total = progress, task, total
        self.of = f"{total / scale:,.{0 if scale == 1 else 1}f} {unit}"
        self._said, self._tenth = time.monotonic(), 0

    def at(self, done: int) -> None:
        """Told that `done` units are done."""
        if not self.total:
            return
        if isinstance(self.progress, Bar):
            self.progress.step(self.task, done, self.total)
        elif done * 10 // self.total > self._tenth and time.monotonic() - self._said > SAY_EVERY:
            self._said, self._tenth = time.monotonic(), done * 10 // self.total
            self.progress(f"{self.task}: {100 * done // self.total} % of {self.of}")
