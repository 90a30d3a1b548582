"""The sampler for several metrics: Optuna's TPE, then its NSGA-II.

They see the logarithm of costs: models differ in size by orders of magnitude, and in a volume of plain numbers only the
largest ones would count.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hwcls.sweep.search.optuna_private import Shown, StudyView, drawn_or_pinned
from hwcls.sweep.search.sampling.history import ENDED, has_ended
from hwcls.sweep.storage.journal_format import COSTS

FEW = 200  # trials after which NSGA-II takes over: TPE would take longer and longer
POPULATION = 50  # trials of a generation, as Optuna has it by default


class FrontSampler(BaseSampler):
    """TPE over all trials, then NSGA-II over those of the trial's alternative.

    TPE sees all, so that what alternatives share is learnt together; NSGA-II mixes settings, which needs trials with
    the same ones. Where one follows the other is chosen by hand.

    Args:
        seed: Of all draws.
        compared: The parameter whose values are the alternatives; None: there is one.
        few: Ended trials that TPE draws after, 0: none; None: however many there are.
    """

    def __init__(self, seed: int, compared: str | None, few: int | None) -> None:
        self.seed, self.compared, self.few = seed, compared, few
        self._tpe = _build_tpe(seed)
        self._nsga2: dict[object, NSGAIISampler] = {}  # by alternative
        self._shown: dict[str, Shown] = defaultdict(dict)  # of each sampler, kept from ask to ask
        self._now: tuple[BaseSampler, StudyView] | None = None  # of one ask

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        self._now = self._choose(study.get_trials(deepcopy=False), trial, study)
        return self._now[0].infer_relative_search_space(self._now[1], trial)

    def _choose(
        self, known: Sequence[FrozenTrial], trial: FrozenTrial, study: optuna.Study
    ) -> tuple[BaseSampler, StudyView]:
        """The sampler of a trial, and what it sees of the study."""
        label = self._label(trial)
        own = [one for one in known if self._label(one) == label]
        enough = self.few == 0 or sum(one.state in ENDED for one in own) >= POPULATION
        if self.few is None or not enough or sum(one.state in ENDED for one in known) < self.few:
            return self._tpe, StudyView(study, shown_trials(known, study.directions, self._shown[""]))
        if label not in self._nsga2:
            self._nsga2[label] = _build_nsga2(self.seed + len(self._nsga2), "" if label is None else str(label))
        sampler, key = self._nsga2[label], self._nsga2[label]._GENERATION_KEY
        return sampler, StudyView(study, shown_trials(own, study.directions, self._shown[key], key))

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        assert self._now is not None, "Optuna asks for the search space first"
        return self._now[0].sample_relative(self._now[1], trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        assert self._now is not None, "Optuna asks for the search space first"
        return self._now[0].sample_independent(self._now[1], trial, param_name, param_distribution)

    def _label(self, trial: FrozenTrial) -> object:
        if self.compared is None:
            return None
        return (trial.params if self.compared in trial.params else drawn_or_pinned(trial)).get(self.compared)


def _build_tpe(seed: int) -> TPESampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def _build_nsga2(seed: int, name: str) -> NSGAIISampler:
    """It remembers its generations in the study, by the name of its class."""
    made: NSGAIISampler = type(f"Nsga2 {name}".strip(), (NSGAIISampler,), {})(seed=seed, population_size=POPULATION)
    return made


def shown_trials(
    trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection], shown: Shown, generation: str = ""
) -> list[FrozenTrial]:
    """The trials that have ended, as if they were complete, and those that run.

    One that failed, or whose cost is not known, is as bad as the worst in each metric.

    Args:
        trials: Of a study.
        directions: Of the study.
        shown: What was shown before: a trial that has not changed is shown as the same object.
        generation: The attribute with NSGA-II's generation: what another sampler drew is of its first one.
    """
    ended = [trial for trial in trials if trial.state in ENDED]
    changed = [trial for trial in ended if trial.number not in shown or shown[trial.number][0] is not trial]
    for trial in changed:
        shown.pop(trial.number, None)
        if (own := values_of(trial, directions)) is not None:
            shown[trial.number] = trial, _as_complete(trial, own, generation)
    known = {trial.number: shown[trial.number][1] for trial in ended if trial.number in shown}
    worst = [
        max(column) if way == StudyDirection.MINIMIZE else min(column)
        for column, way in zip(zip(*(one.values for one in known.values()), strict=True), directions, strict=False)
    ]
    found = []
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            found.append(trial)
        elif trial.number in known:
            found.append(known[trial.number])
        elif has_ended(trial) and worst:
            found.append(_as_complete(trial, worst, generation))
    return found


def values_of(trial: FrozenTrial, directions: Sequence[StudyDirection]) -> list[float] | None:
    """The values of an ended trial, costs as logarithms; None where one is not known.

    A trial that was stopped early counts with its best epoch, as a complete one does.
    """
    if trial.state == TrialState.COMPLETE:
        first, *costs = trial.values
    else:
        epochs, costs = trial.intermediate_values.values(), trial.user_attrs.get(COSTS) or [math.nan]
        first = (min if directions[0] == StudyDirection.MINIMIZE else max)(epochs, default=math.nan)
    known = all(map(math.isfinite, (first, *costs)))
    return [first, *(math.log(max(cost, 1e-9)) for cost in costs)] if known else None


def _as_complete(trial: FrozenTrial, values: Sequence[float], generation: str) -> FrozenTrial:
    shown = copy.copy(trial)
    shown.state, shown.values = TrialState.COMPLETE, list(values)
    shown.system_attrs = {generation: 0, **trial.system_attrs} if generation else trial.system_attrs
    return shown
