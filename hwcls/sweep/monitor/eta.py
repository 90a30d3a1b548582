"""Estimate of the time until the command ends, from the pace since this start."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

# Idle times as multiples of the time in which a process starts and imports what training needs, which dominates them.
# Set by hand to what starts and ends take on two cores.
GROUP = 1.8  # until a group of ranks starts its first trial
SCORE = 0.95  # to score the winners of confirm on test
AFTER = 0.8  # from the last trial's end to the command's


@dataclass(frozen=True)
class Ahead:
    """What follows the trials of a phase until the command ends."""

    epochs: Mapping[str | None, float] = field(default_factory=dict)  # of confirm runs, by alternative
    starts: float = 0.0  # idle time, as a multiple of that until the first trial of this phase trains
    what: str = "writing the report"
    own: float | None = None  # epochs that these trials take from now on; None where only their values decide that

    @classmethod
    def of_search(cls, epochs: Mapping[str | None, float], own: float | None = None) -> Ahead:
        """After the search, which itself takes `own` epochs more; confirm runs start new groups."""
        if not epochs:
            return cls(starts=AFTER / GROUP, own=own)
        return cls(epochs, (GROUP + SCORE + AFTER) / GROUP, "starting the confirm runs", own)

    @classmethod
    def of_confirm(cls) -> Ahead:
        """After the confirm runs: scores on test, and the page."""
        return cls(starts=(SCORE + AFTER) / GROUP, what="scoring on test, writing the report")


@dataclass
class _Running:
    """A running trial's last epoch, and its maximum."""

    epoch: int
    epochs: int
    label: str | None
    since: float  # start of the epoch that it trains


class Pace:
    """Counts epochs, since trials differ in length when many are stopped early; a second thread may ask what remains.

    Args:
        total: Number of trials; None where only time ends the sweep.
        done: Trials that ended in an earlier start.
        left: Seconds left of a time budget; running trials are not cut off when it ends.
        ahead: What follows these trials.
    """

    def __init__(self, total: int | None, done: int = 0, left: float | None = None, ahead: Ahead | None = None) -> None:
        self.total, self.done, self.ahead = total, done, ahead or Ahead()
        self.deadline = None if left is None else time.monotonic() + left
        self.running: dict[str, _Running] = {}
        self.ended_after: list[int] = []  # epochs of each trial that ended in this start
        self.begun = time.monotonic()  # a group of ranks starts now
        self.first = self.last = 0.0  # start of the first epoch, end of the last one
        self.epochs = 0  # in this start
        self.seconds: dict[str | None, float] = defaultdict(float)  # of all epochs, by alternative
        self.counts: dict[str | None, int] = defaultdict(int)  # of these epochs

    def started(self, key: str, epoch: int, epochs: int, label: str | None = None) -> None:
        self.running[key] = _Running(epoch, epochs, label, time.monotonic())

    def epoch(self, key: str, epoch: int, seconds: float) -> None:
        self.last = time.monotonic()
        self.first = self.first or self.last - seconds
        self.epochs += 1
        if key in self.running:
            self.running[key].epoch, self.running[key].since = epoch, self.last
            label = self.running[key].label
            self.counts[label] += 1  # first, as the other thread divides by it
            self.seconds[label] += seconds

    def ended(self, key: str) -> None:
        self.done += 1
        known = self.running.pop(key, None)
        if known is not None:
            self.ended_after.append(known.epoch)

    def paused(self, key: str) -> None:
        """A trial frees its place until it continues or ends."""
        self.running.pop(key, None)

    @property
    def finished(self) -> bool:
        """Whether the last of these trials has ended, so that what follows has begun."""
        over = self.deadline is not None and time.monotonic() >= self.deadline
        return not self.running and (over or (self.total is not None and self.done >= self.total))

    def remaining(self) -> float | None:
        """Seconds until the command ends, with what follows these trials; None while unknown."""
        own, ahead = self._own_remaining(), self._ahead()
        return None if own is None or ahead is None else max(0.0, own + ahead)

    def _ahead(self) -> float | None:
        """Seconds of what follows; None before the first epoch."""
        if not self.ahead.epochs and not self.ahead.starts:
            return 0.0
        if not self.epochs:
            return None
        total = sum(self.seconds.values())
        usual = total / self.epochs
        at_once = max(1.0, (total + self._unreported * usual) / max(self.last - self.first, 1e-9))  # trials
        means = {label: seconds / self.counts[label] for label, seconds in dict(self.seconds).items()}
        work = sum(count * means.get(label, usual) for label, count in self.ahead.epochs.items())
        return work / at_once + self.ahead.starts * max(0.0, self.first - self.begun)

    def _own_remaining(self) -> float | None:
        """Seconds until the last of these trials ends, below 0 where it is late; None while unknown."""
        now = time.monotonic()
        budget = None if self.deadline is None else self.deadline - now
        if budget is not None and budget > 0 and self.total is None:
            return budget
        if not self.epochs:
            return budget if budget is not None and budget > 0 else None
        unreported = self._unreported
        each = (self.last - self.first) / (self.epochs + unreported)
        left = self._epochs_left(over=budget is not None and budget <= 0) - unreported
        work = each * left - (now - self.last)
        return min(work, budget) if budget is not None and budget > 0 else work

    @property
    def _unreported(self) -> float:
        """Epochs that were trained by the last report, and not reported: at the first one those of all other trials."""
        usual = sum(self.seconds.values()) / self.epochs
        spent = [self.last - max(trial.since, self.first) for trial in list(self.running.values())]
        return sum(min(1.0, seconds / usual) for seconds in spent if seconds > 0) if usual else 0.0

    def _epochs_left(self, *, over: bool) -> float:
        """Epochs that are left if trials run as long as earlier ones did; `over`: no new trial starts."""
        if self.ahead.own is not None and not over:
            return max(self.ahead.own - self.epochs, float(len(self.running)))
        usual = sum(self.ended_after) / len(self.ended_after) if self.ended_after else None
        left, running = 0.0, list(self.running.values())
        for trial in running:
            goal = usual if usual is not None and trial.epoch < usual else trial.epochs
            left += goal - trial.epoch
        waiting = 0 if over or self.total is None else max(0, self.total - self.done - len(running))
        if waiting:
            longest = max((trial.epochs for trial in running), default=0)
            left += waiting * (usual if usual is not None else longest)
        return left
