"""CMA-ES, one for each alternative: a generation is of one space."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, CmaEsSampler
from optuna.trial import FrozenTrial

from hwcls.sweep.search.optuna_private import StudyView, drawn_or_pinned
from hwcls.sweep.search.sampling.history import ranked_view
from hwcls.sweep.search.sampling.ranking import RankedHistory

LATEST = 500  # trials of an alternative that are looked at: more than a generation, also where hundreds run at once


class AlternativeCmaEs(BaseSampler):
    """Optuna's CMA-ES, to which trials that were stopped early are the worst.

    Args:
        seed: Of all draws.
        compared: The parameter whose values are the alternatives; None: there is one.
    """

    def __init__(self, seed: int, compared: str | None) -> None:
        self.seed, self.compared = seed, compared
        self.history = RankedHistory(compared)
        self._samplers: dict[object, CmaEsSampler] = {}

    def _of(self, trial: FrozenTrial) -> CmaEsSampler:
        label = self._label(trial)
        if label not in self._samplers:
            seed = self.seed + len(self._samplers)
            self._samplers[label] = CmaEsSampler(seed=seed, warn_independent_sampling=False)
        return self._samplers[label]

    def _label(self, trial: FrozenTrial) -> object:
        return drawn_or_pinned(trial).get(self.compared) if self.compared else None

    def view(self, study: optuna.Study, trial: FrozenTrial) -> StudyView:
        """What is looked at for a trial: the latest of its alternative that have ended, and those that run."""
        self.history.update(study.get_trials(deepcopy=False), study.direction)
        label = self._label(trial)
        running = [one for one in self.history.running if self._label(one) == label]
        return ranked_view(study, self.history.latest(label, LATEST), running)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        self._view = self.view(study, trial)  # for one ask
        return self._of(trial).infer_relative_search_space(self._view, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._of(trial).sample_relative(self._view, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._of(trial).sample_independent(self._view, trial, param_name, param_distribution)
