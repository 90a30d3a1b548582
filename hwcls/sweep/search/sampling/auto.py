"""One sampler while trials are few, another when they are many."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

FEW = 300  # trials, all alternatives together: more take the process too long


class AutoSampler(BaseSampler):
    """Each trial is drawn by one of two samplers.

    Args:
        few: For the first trials.
        many: For those after `FEW`.
    """

    def __init__(self, few: BaseSampler, many: BaseSampler) -> None:
        self.few, self.many = few, many

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        return self.few if trial.number < FEW else self.many

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)
