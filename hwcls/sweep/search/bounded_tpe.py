"""TPE whose work does not grow with the number of trials."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from hwcls.sweep.search.optuna_private import KeptDensities, StudyView, with_settings
from hwcls.sweep.search.sampling.history import fail_as_pruned
from hwcls.sweep.search.sampling.ranking import RankedHistory

BEST, LATEST = 25, 475  # trials that TPE models: its "good" ones are never more than 25
SHARED = 32  # each so many trials at once let one more ask use the same view of the history


class BoundedTPE(KeptDensities):
    """TPE over the best trials and the latest: asking takes as long at trial 20,000 as at trial 500.

    Its model of good trials stays that of all trials; its model of the others forgets the oldest, which weigh least.

    Args:
        at_once: Trials that run at the same time: where they are many, an ask knows some of them less than the last.
        options: As TPESampler takes them.
    """

    def __init__(self, at_once: int = 1, **options: Any) -> None:
        super().__init__(**options)
        self._asks_of_a_view = 1 + at_once // SHARED
        self.history = RankedHistory(None)
        self._running: dict[int, tuple[FrozenTrial, FrozenTrial]] = {}  # by number: a trial, and as it is modelled
        self._asks_left = 0  # that see the same history

    def view(self, study: optuna.Study) -> StudyView:
        """What is modelled of a study: the trials that run, the latest that have ended, and the best before those."""
        self.history.update(study.get_trials(deepcopy=False), study.direction)
        ended = [fail_as_pruned(one.trial) for one in self.history.excerpt(BEST, LATEST)]
        return StudyView(study, sorted([*ended, *self.running(study)], key=lambda trial: trial.number))

    def running(self, study: optuna.Study) -> list[FrozenTrial]:
        """The trials that run, by number."""
        known, self._running = self._running, {}
        for trial in self.history.running:
            before, shown = known.get(trial.number, (None, trial))
            if before is not trial:
                shown = with_settings(self, study, trial)
            self._running[trial.number] = trial, shown
        return [shown for _, shown in self._running.values()]

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if self._asks_left <= 0 or trial.number in self._running:  # no trial is drawn from itself
            self._view = self.view(study).without(trial)
            self._space = super().infer_relative_search_space(self._view, trial)
            self._asks_left = self._asks_of_a_view
        self._asks_left -= 1
        return dict(self._space)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return dict(super().sample_relative(self._view, trial, search_space))

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return super().sample_independent(self._view, trial, param_name, param_distribution)
