"""TPE whose work does not grow with the number of trials."""

from __future__ import annotations

import heapq
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from hwcls.sweep.search.optuna_private import StudyView
from hwcls.sweep.search.sampling.history import fail_as_pruned

BEST, LATEST = 25, 475  # trials that TPE models: its "good" ones are never more than 25


class BoundedTPE(optuna.samplers.TPESampler):
    """TPE over the best trials and the latest: asking takes as long at trial 20,000 as at trial 500.

    Its model of good trials stays that of all trials; its model of the others forgets the oldest, which weigh least.
    """

    def view(self, study: optuna.Study) -> StudyView:
        """What is modelled of a study."""
        trials = [fail_as_pruned(trial) for trial in study.get_trials(deepcopy=False)]
        return StudyView(study, excerpt(trials, study.direction))

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        self._view = self.view(study)  # for one ask
        return dict(super().infer_relative_search_space(self._view, trial))

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return dict(super().sample_relative(self._view, trial, search_space))

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return super().sample_independent(self._view, trial, param_name, param_distribution)


def excerpt(trials: list[FrozenTrial], direction: optuna.study.StudyDirection) -> list[FrozenTrial]:
    """The trials that run, the latest that have ended, and the best of those before, in order."""
    ended = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    if len(ended) <= BEST + LATEST:
        return trials
    sign = 1 if direction == optuna.study.StudyDirection.MINIMIZE else -1

    def rank(trial: FrozenTrial) -> tuple[float, float]:  # as TPE ranks: pruned ones by their last step
        if trial.state == TrialState.COMPLETE:
            return -float("inf"), sign * (trial.value or 0.0)
        step, value = max(trial.intermediate_values.items(), default=(-1, 0.0))
        return -step, sign * value

    kept = heapq.nsmallest(BEST, ended[:-LATEST], key=rank) + ended[-LATEST:]
    kept += [trial for trial in trials if trial.state == TrialState.RUNNING]
    return sorted(kept, key=lambda trial: trial.number)
