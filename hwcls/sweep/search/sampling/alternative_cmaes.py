"""CMA-ES, one for each alternative: a generation is of one space."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, CmaEsSampler
from optuna.trial import FrozenTrial, TrialState

from hwcls.sweep.search.optuna_private import StudyView, drawn_or_pinned
from hwcls.sweep.search.sampling.history import rank_trials, ranked_view


class AlternativeCmaEs(BaseSampler):
    """Optuna's CMA-ES, to which trials that were stopped early are the worst.

    Args:
        seed: Of all draws.
        compared: The parameter whose values are the alternatives; None: there is one.
    """

    def __init__(self, seed: int, compared: str | None) -> None:
        self.seed, self.compared = seed, compared
        self._samplers: dict[object, CmaEsSampler] = {}

    def _of(self, trial: FrozenTrial) -> CmaEsSampler:
        label = self._label(trial)
        if label not in self._samplers:
            seed = self.seed + len(self._samplers)
            self._samplers[label] = CmaEsSampler(seed=seed, warn_independent_sampling=False)
        return self._samplers[label]

    def _label(self, trial: FrozenTrial) -> object:
        return drawn_or_pinned(trial).get(self.compared) if self.compared else None

    def _view(self, study: optuna.Study, trial: FrozenTrial) -> StudyView:
        trials = [one for one in study.get_trials(deepcopy=False) if self._label(one) == self._label(trial)]
        running = [one for one in trials if one.state == TrialState.RUNNING]
        return ranked_view(study, rank_trials(trials, study.direction, None), running)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._of(trial).infer_relative_search_space(self._view(study, trial), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._of(trial).sample_relative(self._view(study, trial), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._of(trial).sample_independent(self._view(study, trial), trial, param_name, param_distribution)
