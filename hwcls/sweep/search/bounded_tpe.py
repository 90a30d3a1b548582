"""TPE whose work does not grow with the number of trials."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from hwcls.sweep.search.optuna_private import StudyView
from hwcls.sweep.search.sampling.history import fail_as_pruned
from hwcls.sweep.search.sampling.ranking import RankedHistory

BEST, LATEST = 25, 475  # trials that TPE models: its "good" ones are never more than 25


class BoundedTPE(optuna.samplers.TPESampler):
    """TPE over the best trials and the latest: asking takes as long at trial 20,000 as at trial 500.

    Its model of good trials stays that of all trials; its model of the others forgets the oldest, which weigh least.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.history = RankedHistory(None)

    def view(self, study: optuna.Study) -> StudyView:
        """What is modelled of a study: the trials that run, the latest that have ended, and the best before those."""
        trials, history = study.get_trials(deepcopy=False), self.history
        history.update(trials, study.direction)
        if len(history) > BEST + LATEST:
            kept = [one.trial for one in history.excerpt(BEST, LATEST)]
            trials = sorted([*kept, *history.running], key=lambda trial: trial.number)
        return StudyView(study, [fail_as_pruned(trial) for trial in trials])

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
