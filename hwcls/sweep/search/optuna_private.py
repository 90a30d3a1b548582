"""Everything that hwcls uses of Optuna's private API: check it when Optuna is upgraded."""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping
from functools import cache
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.storages import JournalStorage
from optuna.storages.journal import _storage
from optuna.trial import FrozenTrial, Trial, TrialState

WRITTEN_FOR = "5.0"  # the Optuna release; tests/sweep/search/test_optuna_private.py compares it with the installed one

MODELLED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)  # the trials of which TPE has densities
Pair = tuple[_ParzenEstimator, _ParzenEstimator]  # TPE's densities of settings: of good trials, of the others

# For every study of this process: trials share their distributions, which never change; Optuna makes copies for each
vars(_storage)["json_to_distribution"] = cache(json_to_distribution)


class OneStudyStorage(JournalStorage):
    """Optuna's storage of a journal that has one study: all its trials are there at once, not gathered at each look.

    optuna-dashboard renames a study by copying it; then the trials of the old one are there as well.
    """

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        with self._thread_lock:
            self._sync_with_backend()
            replayed = self._replay_result
            if replayed._next_study_id > 1 or study_id not in replayed._studies:
                found = replayed.get_all_trials(study_id, states)
            else:
                known = replayed._trials.values()
                found = list(known) if states is None else [trial for trial in known if trial.state in states]
        return copy.deepcopy(found) if deepcopy else found


class StudyView(optuna.Study):
    """A study of which a sampler sees some trials only."""

    def __init__(self, study: optuna.Study, trials: list[FrozenTrial]) -> None:
        vars(self).update(vars(study))
        self._visible = trials
        self.densities: dict[object, Pair] = {}  # of these trials

    def without(self, trial: FrozenTrial) -> StudyView:
        """A view without a trial."""
        return StudyView(self, [one for one in self._visible if one.number != trial.number])

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [trial for trial in self._visible if states is None or trial.state in states]


class KeptDensities(optuna.samplers.TPESampler):
    """TPE that builds its densities once for all trials that it draws from a StudyView, which has none of them."""

    def _sample(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        good, others = self._densities(study, trial, search_space)
        samples = good.sample(self._rng.rng, self._n_ei_candidates)
        chosen = self._compare(samples, self._compute_acquisition_func(samples, good, others))
        return {name: one.to_external_repr(chosen[name]) for name, one in search_space.items()}

    def _densities(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> Pair:
        """Of the good trials and of the others."""
        assert isinstance(study, StudyView)
        kept, key = study.densities, (self._densities_of(trial), tuple(search_space))
        if key not in kept:
            trials = study._get_trials(states=MODELLED)
            count = sum(one.state != TrialState.RUNNING for one in trials)
            good, others = _split_trials(study, trials, default_gamma(count))
            kept[key] = (
                self._build_parzen_estimator(study, search_space, good, handle_below=True),
                self._build_parzen_estimator(study, search_space, others, handle_below=False),
            )
        return kept[key]

    def _densities_of(self, trial: FrozenTrial) -> object:
        """What the densities depend on besides the study."""
        return None


Shown = dict[int, tuple[FrozenTrial, FrozenTrial]]  # by number: a trial that may go on, and as samplers see it


class ShownAsPruned(optuna.Study):
    """A study whose sampler learns from trials that have come to `epoch` as from pruned ones, though they may go on.

    `shown` is kept from ask to ask: a trial that has not changed is shown as the same object.
    """

    def __init__(self, study: optuna.Study, epoch: int, shown: Shown) -> None:
        vars(self).update(vars(study))
        self._epoch, self._already = epoch, shown

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        known = super()._get_trials(False, None, use_cache)
        found = [self._shown(trial) if trial.state == TrialState.RUNNING else trial for trial in known]
        chosen = [trial for trial in found if states is None or trial.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    def _shown(self, trial: FrozenTrial) -> FrozenTrial:
        """A running trial as the sampler sees it."""
        known = self._already.get(trial.number)
        if known is not None and known[0] is trial:
            return known[1]
        if max(trial.intermediate_values, default=0) < self._epoch:
            return trial
        shown = copy.copy(trial)
        shown.state = TrialState.PRUNED
        shown.values = [trial.intermediate_values[max(trial.intermediate_values)]]
        self._already[trial.number] = trial, shown
        return shown


def shown_to_sampler(study: optuna.Study, epoch: int | None, shown: Shown) -> optuna.Study:
    """The study that a trial is asked of; trials pause from `epoch` on, None: none does. `shown`: see there."""
    return study if epoch is None else ShownAsPruned(study, epoch, shown)


def resume_trial(study: optuna.Study, frozen: FrozenTrial) -> Trial:
    """A running trial of an earlier start, to continue with."""
    return Trial(study, frozen._trial_id)


def report_epoch_value(trial: Trial, value: float, epoch: int) -> None:
    """`Trial.report`, which a study with several metrics refuses: the value is that of the first."""
    trial.storage.set_trial_intermediate_value(trial._trial_id, epoch, value)


def with_settings(sampler: optuna.samplers.TPESampler, study: optuna.Study, trial: FrozenTrial) -> FrozenTrial:
    """A running trial with the settings that `sampler` drew for it, which it would decode again at each look."""
    shown = copy.copy(trial)
    shown.params, shown.system_attrs = sampler._get_params(trial, study), {}
    return shown


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
