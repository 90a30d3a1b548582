"""Estimate of the time until a sweep ends, from the pace since this start."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass
class _Running:
    """A running trial's last epoch, and its maximum."""

    epoch: int
    epochs: int


class Pace:
    """Counts epochs, since trials differ in length when many are stopped early.

    Args:
        total: Number of trials; None where only time ends the sweep.
        done: Trials that ended in an earlier start.
        left: Seconds left of a time budget; running trials are not cut off when it ends.
    """

    def __init__(self, total: int | None, done: int = 0, left: float | None = None) -> None:
        self.total, self.done = total, done
        self.deadline = None if left is None else time.monotonic() + left
        self.running: dict[str, _Running] = {}
        self.ended_after: list[int] = []  # epochs of each trial that ended in this start
        self.first = self.last = 0.0  # start of the first epoch, without Ray's own start; end of the last one
        self.epochs = 0  # in this start

    def started(self, key: str, epoch: int, epochs: int) -> None:
        self.running[key] = _Running(epoch, epochs)

    def epoch(self, key: str, epoch: int, seconds: float) -> None:
        self.last = time.monotonic()
        self.first = self.first or self.last - seconds
        self.epochs += 1
        if key in self.running:
            self.running[key].epoch = epoch

    def ended(self, key: str) -> None:
        self.done += 1
        known = self.running.pop(key, None)
        if known is not None:
            self.ended_after.append(known.epoch)

    def remaining(self) -> float | None:
        """Seconds until the end; None while unknown."""
        now = time.monotonic()
        budget = None if self.deadline is None else self.deadline - now
        if budget is not None and budget > 0 and self.total is None:
            return budget
        if not self.epochs:
            return budget if budget is not None and budget > 0 else None
        each = (self.last - self.first) / self.epochs
        work = max(0.0, each * self._epochs_left(over=budget is not None and budget <= 0) - (now - self.last))
        return min(work, budget) if budget is not None and budget > 0 else work

    def _epochs_left(self, *, over: bool) -> float:
        """Epochs that are left if trials run as long as earlier ones did; `over`: no new trial starts."""
        usual = sum(self.ended_after) / len(self.ended_after) if self.ended_after else None
        left = 0.0
        for trial in self.running.values():
            goal = usual if usual is not None and trial.epoch < usual else trial.epochs
            left += goal - trial.epoch
        waiting = 0 if over or self.total is None else max(0, self.total - self.done - len(self.running))
        if waiting:
            longest = max((trial.epochs for trial in self.running.values()), default=0)
            left += waiting * (usual if usual is not None else longest)
        return left
