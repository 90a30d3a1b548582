"""What samplers see of a study: its ended trials ranked within each alternative, the best and the latest of them.

The values of one alternative say nothing about the settings of another: among all of them the good ones would be those
of the strongest. Trials that failed are the worst: a sampler that did not know them would try the same again.
"""

from __future__ import annotations

import copy
import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hwcls.sweep.search.optuna_private import StudyView

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


def has_ended(trial: FrozenTrial) -> bool:
    """Whether a trial is known to be good or bad; one that does not count has failed without settings."""
    return trial.state in ENDED or (trial.state == TrialState.FAIL and bool(trial.params))


def fail_as_pruned(trial: FrozenTrial) -> FrozenTrial:
    """A trial that failed as one that was stopped before its first epoch, which TPE takes for the worst."""
    if trial.state != TrialState.FAIL or not has_ended(trial):
        return trial
    shown = copy.copy(trial)
    shown.state, shown.intermediate_values = TrialState.PRUNED, {}
    return shown


def goodness(trial: FrozenTrial, direction: StudyDirection) -> tuple[float, float]:
    """Smaller is better, as TPE orders trials: complete ones by value, then stopped ones by their last step."""
    sign = 1 if direction == StudyDirection.MINIMIZE else -1
    if trial.state == TrialState.FAIL:
        return math.inf, 0.0
    if trial.state == TrialState.COMPLETE:
        return -math.inf, sign * (trial.value or 0.0)
    step, value = max(trial.intermediate_values.items(), default=(-1, 0.0))
    return -step, math.inf if math.isnan(value) else sign * value


@dataclass(frozen=True)
class Ranked:
    """An ended trial, and its rank within its alternative: between 0, the best, and 1; ties share theirs."""

    trial: FrozenTrial
    rank: float


def best_of(ranked: Iterable[Ranked], count: int) -> list[Ranked]:
    """So many of the best, the best first, of equal ones the earlier."""
    return heapq.nsmallest(count, ranked, key=lambda one: (one.rank, one.trial.number))


def ranked_view(study: optuna.Study, ranked: list[Ranked], running: list[FrozenTrial]) -> StudyView:
    """The study as if each of `ranked` were complete, its rank the value."""
    maximize = study.direction == StudyDirection.MAXIMIZE
    shown = []
    for one in ranked:
        trial = copy.copy(one.trial)
        trial.state, trial.value = TrialState.COMPLETE, 1 - one.rank if maximize else one.rank
        shown.append(trial)
    return StudyView(study, sorted([*shown, *running], key=lambda trial: trial.number))
