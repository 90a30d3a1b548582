"""When a sweep will end, at the pace of this start."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass
class _Running:
    """How far a trial is, and how far it can come."""

    epoch: int
    epochs: int


class Pace:
    """Counts epochs: trials differ in length, since many are stopped early, and all run side by side.

    Args:
        total: Trials in all; None where only time ends the sweep.
        done: Those that have ended before.
        left: Seconds of a time budget; what runs when they are over runs to its end.
    """

    def __init__(self, total: int | None, done: int = 0, left: float | None = None) -> None:
        self.total, self.done = total, done
        self.deadline = None if left is None else time.monotonic() + left
        self.running: dict[str, _Running] = {}
        self.ended_after: list[int] = []  # epochs of each trial that ended in this start
        self.begun = self.last = 0.0  # when the first epoch began: Ray's own start is no pace; when the last one ended
        self.epochs = 0  # in this start

    def started(self, key: str, epoch: int, epochs: int) -> None:
        self.running[key] = _Running(epoch, epochs)

    def epoch(self, key: str, epoch: int, seconds: float) -> None:
        self.last = time.monotonic()
        self.begun = self.begun or self.last - seconds
        self.epochs += 1
        if key in self.running:
            self.running[key].epoch = epoch

    def ended(self, key: str) -> None:
        self.done += 1
        known = self.running.pop(key, None)
        if known is not None:
            self.ended_after.append(known.epoch)

    def remaining(self) -> float | None:
        """Seconds to the end; None while nothing is known."""
        now = time.monotonic()
        budget = None if self.deadline is None else self.deadline - now
        if budget is not None and budget > 0 and self.total is None:
            return budget
        if not self.epochs:
            return budget if budget is not None and budget > 0 else None
        each = (self.last - self.begun) / self.epochs
        work = max(0.0, each * self._epochs_left(over=budget is not None and budget <= 0) - (now - self.last))
        return min(work, budget) if budget is not None and budget > 0 else work

    def _epochs_left(self, *, over: bool) -> float:
        """Epochs to come, where trials run as long as those before them did; `over`: no new trial begins."""
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
