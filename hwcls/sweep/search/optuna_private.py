"""Everything that hwcls uses of Optuna's private API: check it when Optuna is upgraded."""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping
from typing import Any

import optuna
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.trial import FrozenTrial, Trial, TrialState

WRITTEN_FOR = "5.0"  # the Optuna release; tests/sweep/search/test_optuna_private.py compares it with the installed one


class StudyView(optuna.Study):
    """A study of which a sampler sees some trials only."""

    def __init__(self, study: optuna.Study, trials: list[FrozenTrial]) -> None:
        vars(self).update(vars(study))
        self._visible = trials

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [trial for trial in self._visible if states is None or trial.state in states]


class ShownAsPruned(optuna.Study):
    """A study whose sampler learns from trials that have come to `epoch` as from pruned ones, though they may go on."""

    def __init__(self, study: optuna.Study, epoch: int) -> None:
        vars(self).update(vars(study))
        self._epoch = epoch

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        found = [self._shown(trial) for trial in super()._get_trials(False, None, use_cache)]
        chosen = [trial for trial in found if states is None or trial.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    def _shown(self, trial: FrozenTrial) -> FrozenTrial:
        if trial.state != TrialState.RUNNING or max(trial.intermediate_values, default=0) < self._epoch:
            return trial
        shown = copy.copy(trial)
        shown.state = TrialState.PRUNED
        shown.values = [trial.intermediate_values[max(trial.intermediate_values)]]
        return shown


def shown_to_sampler(study: optuna.Study, epoch: int | None) -> optuna.Study:
    """The study that a trial is asked of; trials pause from `epoch` on, None: none does."""
    return study if epoch is None else ShownAsPruned(study, epoch)


def resume_trial(study: optuna.Study, frozen: FrozenTrial) -> Trial:
    """A running trial of an earlier start, to continue with."""
    return Trial(study, frozen._trial_id)


def drawn_or_pinned(trial: FrozenTrial) -> dict[str, Any]:
    """The settings drawn for a trial; before they are drawn, those pinned by `enqueue_trial`."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def conditioned_estimator(
    pinned: Mapping[str, Any], observations: Any, search_space: Any, *options: Any
) -> _ParzenEstimator:
    """TPE's density of settings, given labels: each observation counts as much as its own density says of them."""
    estimator = _ParzenEstimator(observations, search_space, *options)
    weights, densities = estimator._mixture_distribution
    for at, (name, distribution) in enumerate(search_space.items()):
        if name in pinned:
            label = int(distribution.to_internal_repr(pinned[name]))
            shares: Any = densities[at]  # of the labels, by observation
            weights = weights * shares.weights[:, label]
            shares.weights[:] = 1e-12  # samples have the label, whatever the observation's was
            shares.weights[:, label] = 1.0 - 1e-12 * (shares.weights.shape[1] - 1)
    estimator._mixture_distribution = estimator._mixture_distribution._replace(weights=weights / weights.sum())
    return estimator
