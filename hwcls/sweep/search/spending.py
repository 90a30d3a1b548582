"""The budget of a search: time, and what each alternative has had of it."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from hwcls.config.shares import Had, Unit


class Spending:
    """Trials, epochs and seconds by alternative (None: of no alternative), and the time budget.

    Args:
        budget: Seconds in which new trials start; None without one.
        concurrent: Trials at once.
    """

    def __init__(self, budget: float | None, concurrent: int) -> None:
        self.budget, self.concurrent = budget, concurrent
        self.trials: Counter[str | None] = Counter()
        self.epochs: Counter[str | None] = Counter()
        self.seconds: dict[str | None, float] = defaultdict(float)  # of training
        self.begun: set[str] = set()  # keys of the trials that have ended an epoch
        self.fruitless: Counter[str | None] = Counter()  # trials that have ended without an epoch
        self.before = 0.0  # about what earlier starts took
        self.started = time.monotonic()

    def add_earlier(self, label: str | None, key: str, seconds: Iterable[float], *, counts: bool = True) -> None:
        """Count the epochs of a trial that is on record, by their seconds.

        One that is left out is nothing that its alternative has had, but its time is gone.
        """
        for each in seconds:
            if counts:
                self.add_epoch(label, key, each)
            self.before += each / self.concurrent

    def begin(self) -> None:
        """Count the time of this start from now on: the first trial can start, all that comes once is done."""
        self.started = time.monotonic()

    def add_epoch(self, label: str | None, key: str, seconds: float) -> None:
        """Count an epoch of a trial."""
        self.begun.add(key)
        self.epochs[label] += 1
        self.seconds[label] += seconds

    def end_trial(self, label: str | None, key: str) -> None:
        """Count a trial that has ended where it has not had an epoch."""
        self.fruitless[label] += key not in self.begun

    def by_unit(self) -> dict[Unit, Had]:
        """What each alternative has had."""
        return {"trials": self.trials, "epochs": self.epochs, "seconds": self.seconds}

    def charged(self) -> dict[Unit, Had]:
        """For `Shares.next`: a trial that ended without an epoch counts as much as the mean of those that have one.

        An alternative whose trials fail at once would else have the turn until the budget is used up.
        """
        return {"trials": self.trials, "epochs": self._charge(self.epochs), "seconds": self._charge(self.seconds)}

    def _charge(self, had: Mapping[str | None, float]) -> dict[str | None, float]:
        each = sum(had.values()) / len(self.begun) if self.begun else 1.0  # one of the unit before any is known
        return {label: had.get(label, 0.0) + each * self.fruitless[label] for label in {*had, *self.fruitless}}

    @property
    def spent(self) -> float:
        """Seconds of the budget that are gone: this start's, and about what earlier starts took."""
        return self.before + time.monotonic() - self.started

    @property
    def left(self) -> float | None:
        """Seconds of the budget that are left; None without one."""
        return None if self.budget is None else max(0.0, self.budget - self.spent)
