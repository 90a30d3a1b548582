"""Which trial that waits at a rung continues next, with the alternatives in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from hwcls.config.shares import Had, Unit
from hwcls.config.sweep_file import Sweep

if TYPE_CHECKING:
    from hwcls.sweep.search.optuna_private import Shown
    from hwcls.sweep.search.pruning import FairScheduler

LOOKS = 20  # paused trials that are looked at whenever a trial ends or pauses: whether a user stops them


class PausedTrials:
    """The paused trials as the search sees them; without a rule that pauses there are none.

    Args:
        sweep: The sweep.
        scheduler: Of its trials; None where each runs to its end.
    """

    def __init__(self, sweep: Sweep, scheduler: FairScheduler | None) -> None:
        self.sweep = sweep
        self.scheduler = scheduler if scheduler and scheduler.config.pauses else None
        self.shown: Shown = {}  # as the sampler sees them
        self._in_turn: deque[str] = deque()  # those that `some` has not had in this round

    def __contains__(self, key: object) -> bool:
        return self.scheduler is not None and key in self.scheduler.paused

    def __len__(self) -> int:
        return len(self.scheduler.paused) if self.scheduler else 0

    def __iter__(self) -> Iterator[str]:
        return iter(self.scheduler.paused if self.scheduler else ())

    def describe(self) -> str:
        """Where trials pause, in words; empty where none does."""
        rungs = self.scheduler.config.rungs(self.scheduler.rungs[0], self.scheduler.epochs) if self.scheduler else []
        at = ", ".join(map(str, rungs))
        return f"trials pause at epoch {at}: those among the best there go on" if rungs else ""

    def some(self, count: int = LOOKS) -> list[str]:
        """So many of them, in turn; all where there are no more: thousands are not looked at each time."""
        if len(self) <= count:
            return list(self)
        found: dict[str, None] = {}
        while len(found) < count:
            self._in_turn = self._in_turn or deque(self)
            key = self._in_turn.popleft()
            if key in self:
                found[key] = None
        return list(found)

    def out(self) -> list[str]:
        """Those that cannot go on any more."""
        return self.scheduler.out() if self.scheduler else []

    @property
    def first_rung(self) -> int | None:
        """The first epoch at which trials pause; None where none does."""
        return self.scheduler.rungs[0] if self.scheduler else None

    def expected_epochs(self, had: Mapping[Unit, Had]) -> float | None:
        """About how many epochs the search takes from now on; None where the values decide it."""
        total, config = self.sweep.total, self.sweep.early_stopping
        if self.scheduler is None or config is None or total is None:
            return None
        labels = self.sweep.shares.labels or ("all",)
        each = self.sweep.shares.trials_each() or dict.fromkeys(labels, total // len(labels))
        first, epochs = self.scheduler.rungs[0], self.scheduler.epochs
        counts = [config.expected_epochs(first, epochs, trials) or 0 for trials in each.values()]
        return max(0.0, sum(counts) - sum(had["epochs"].values()))

    def kept(self, had: Mapping[Unit, Had], concurrent: int) -> float:
        """Seconds at the end of a time budget in which only paused trials go on: one of each alternative to its end.

        Args:
            had: What each alternative has had, as Shares takes it.
            concurrent: Trials at once.
        """
        epochs, budget = sum(had["epochs"].values()), self.sweep.config.budget
        if self.scheduler is None or budget is None or not epochs:
            return 0.0
        rounds = -(-len(self.sweep.shares.labels or ("all",)) // concurrent)
        return min(rounds * self.scheduler.epochs * sum(had["seconds"].values()) / epochs, budget / 2)

    def leave(self, label: str | None, key: str, *, gives_place: bool = False) -> None:
        """A trial continues, or has ended; where it gives its place, another one may go on instead."""
        if self.scheduler:
            self.scheduler.leave(label, key)
        if self.scheduler and gives_place:
            self.scheduler.fail(label, key)

    def next(
        self, running: Mapping[str, str | None], had: Mapping[Unit, Had], *, last: bool, late: bool = False
    ) -> str | None:
        """The key of the trial to go on with; None: there is none, or it is the turn of a new one.

        Args:
            running: The trials that run, and their alternatives.
            had: What each alternative is charged, as Shares takes it.
            last: Whether no new trials are to come.
            late: Whether the time budget is used up: only an alternative that would have no complete trial continues.
        """
        shares = self.sweep.shares
        found = self.scheduler.promotable(running, last=last) if self.scheduler else {}
        if late and self.scheduler:
            served = {*self.scheduler.complete, *running.values()}
            found = {label: key for label, key in found.items() if label not in served}
        if found and shares.labels and not last and shares.unit != "trials":  # trials are counted when they are new
            turn = shares.next(had)
            found = {label: key for label, key in found.items() if label in (turn, None)}
        if not found:
            return None
        return min(found.items(), key=lambda one: [_amount(had[unit], one[0]) for unit in (shares.unit, "epochs")])[1]


def _amount(had: Had, label: str | None) -> float:
    return next((amount for one, amount in had.items() if one == label), 0)
