"""The ranks of `history.py`, kept from ask to ask: of thousands of trials only those that changed are ranked again."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hwcls.sweep.search.sampling.history import Ranked, best_of, goodness, has_ended


class _Place(NamedTuple):
    """Where a trial stands among the ended ones of its alternative: sorted, the best is the first."""

    goodness: tuple[float, float]
    number: float


class RankedHistory:
    """A study's ended trials in the order of their ranks, and those that run.

    Args:
        compared: The parameter whose values are the alternatives; None: all trials are of one.
    """

    def __init__(self, compared: str | None) -> None:
        self.compared = compared
        self.ranked = 0  # trials that were put into their place, since the start
        self._forget()

    def _forget(self) -> None:
        self._known: list[FrozenTrial] = []
        self._ended: list[int] = []  # numbers, in order
        self._running: list[int] = []
        self._places: dict[int, _Place] = {}  # of those that have ended
        self._groups: dict[object, list[_Place]] = defaultdict(list)

    def update(self, trials: Sequence[FrozenTrial], direction: StudyDirection) -> None:
        """Take the trials of a study by number; Optuna replaces the object of a trial that changes."""
        if len(trials) < len(self._known):  # another study
            self._forget()
        changed = [new for old, new in zip(self._known, trials, strict=False) if old is not new]
        for trial in (*changed, *trials[len(self._known) :]):
            self._replace(trial, direction)

    def _replace(self, trial: FrozenTrial, direction: StudyDirection) -> None:
        number = trial.number
        if number < len(self._known):
            self._remove(self._known[number])
            self._known[number] = trial
        else:
            self._known.append(trial)
        if has_ended(trial):
            self._places[number] = _Place(goodness(trial, direction), number)
            insort(self._ended, number)
            insort(self._group(trial), self._places[number])
            self.ranked += 1
        elif trial.state == TrialState.RUNNING:
            insort(self._running, number)

    def _remove(self, trial: FrozenTrial) -> None:
        if (place := self._places.pop(trial.number, None)) is not None:
            del self._ended[bisect_left(self._ended, trial.number)]
            group = self._group(trial)
            del group[bisect_left(group, place)]
        elif trial.state == TrialState.RUNNING:
            del self._running[bisect_left(self._running, trial.number)]

    def _group(self, trial: FrozenTrial) -> list[_Place]:
        return self._groups[trial.params.get(self.compared) if self.compared else None]

    @property
    def running(self) -> list[FrozenTrial]:
        """The trials that run, by number."""
        return [self._known[number] for number in self._running]

    def __len__(self) -> int:
        """How many trials have ended."""
        return len(self._ended)

    def count(self, alternative: object) -> int:
        """How many trials of an alternative have ended; None where nothing is compared."""
        return len(self._groups.get(alternative, ()))

    def best(self, alternative: object, count: int) -> list[Ranked]:
        """So many of the best of an alternative, the best first, of equal ones the earlier."""
        return [self._rank(int(place.number)) for place in self._groups.get(alternative, [])[:count]]

    def latest(self, alternative: object, count: int) -> list[Ranked]:
        """So many of the latest of an alternative, by number."""
        group = self._groups.get(alternative)
        own = (number for number in reversed(self._ended) if self._group(self._known[number]) is group)
        return [self._rank(number) for number in sorted(itertools.islice(own, count))]

    def excerpt(self, best: int, latest: int) -> list[Ranked]:
        """The latest, 1 or more, and the best of those before, by number.

        Asking then takes no longer with more trials than these. Ranks are among all ended trials of the alternative.
        """
        numbers = self._ended
        if len(self) > best + latest:
            before = self._ended[-latest]
            firsts = [
                place
                for group in self._groups.values()
                for place in itertools.islice((place for place in group if place.number < before), best)
            ]
            kept = best_of((self._rank(int(place.number)) for place in firsts), best)
            numbers = sorted([*(one.trial.number for one in kept), *self._ended[-latest:]])
        return [self._rank(number) for number in numbers]

    def _rank(self, number: int) -> Ranked:
        trial, own = self._known[number], self._places[number].goodness
        group = self._group(trial)
        first, last = bisect_left(group, _Place(own, -1)), bisect_left(group, _Place(own, math.inf))
        return Ranked(trial, (first + last) / 2 / len(group))
