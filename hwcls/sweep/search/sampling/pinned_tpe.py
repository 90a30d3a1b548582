"""TPE for a study with alternatives: trials are ranked within theirs, and draws are for the one that is pinned."""

from __future__ import annotations

from functools import partial
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from hwcls.sweep.search.bounded_tpe import BoundedTPE
from hwcls.sweep.search.optuna_private import StudyView, conditioned_estimator, drawn_or_pinned
from hwcls.sweep.search.sampling.history import ranked_view
from hwcls.sweep.search.sampling.ranking import RankedHistory

BEST, LATEST = 25, 175  # trials that are modelled: fewer than BoundedTPE's, so that an ask takes half as long


class PinnedTPE(BoundedTPE):
    """BoundedTPE, of whose densities only what is about the pinned alternative counts.

    Args:
        compared: The parameter whose values are the alternatives.
        options: As TPESampler takes them.
    """

    def __init__(self, compared: str, **options: Any) -> None:
        super().__init__(**options)
        self.compared, self.history = compared, RankedHistory(compared)

    def view(self, study: optuna.Study) -> StudyView:
        self.history.update(study.get_trials(deepcopy=False), study.direction)
        running = self.running(study)[-LATEST // 2 :]
        return ranked_view(study, self.history.excerpt(BEST, LATEST - len(running)), running)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        self._parzen_estimator_cls: Any = partial(conditioned_estimator, self._pinned(trial))
        return super().infer_relative_search_space(study, trial)

    def _densities_of(self, trial: FrozenTrial) -> object:
        return tuple(self._pinned(trial).values())

    def _pinned(self, trial: FrozenTrial) -> dict[str, Any]:
        return {name: value for name, value in drawn_or_pinned(trial).items() if name == self.compared}
