"""The Optuna study of a sweep: its journal on disk, and samplers whose work does not grow with the trials."""

from __future__ import annotations

import heapq
import json
import os
import warnings
from collections.abc import Container
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from hwcls import files

BEST, LATEST = 25, 475  # trials that TPE models: its "good" ones are never more than 25


class Journal(JournalFileBackend):
    """Optuna's journal file with one writer: made safe once a trial instead of at each of its twenty lines."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines, each in one write."""
        for log in logs:
            files.append_line(self.path, json.dumps(log, separators=(",", ":")).encode(), sync=False)

    def sync(self) -> None:
        """Make what was appended survive a power cut."""
        with open(self.path, "rb") as file:
            os.fsync(file.fileno())

    def count(self) -> int:
        """How many lines there are: 0 at the first start."""
        return self.path.read_bytes().count(b"\n")


class BoundedTPE(optuna.samplers.TPESampler):
    """TPE over the best trials and the latest: asking takes as long at trial 20,000 as at trial 500.

    Its model of good trials stays that of all trials; its model of the others forgets the oldest, which weigh least.
    """

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        self._excerpt = _Excerpt(study)
        return dict(super().infer_relative_search_space(self._excerpt, trial))

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return dict(super().sample_relative(self._excerpt, trial, search_space))

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return super().sample_independent(self._excerpt, trial, param_name, param_distribution)


class _Excerpt(optuna.Study):
    """A study as the sampler sees it in one ask."""

    def __init__(self, study: optuna.Study) -> None:
        vars(self).update(vars(study))
        self._chosen = excerpt(study.get_trials(deepcopy=False), study.direction)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [trial for trial in self._chosen if states is None or trial.state in states]


def excerpt(trials: list[FrozenTrial], direction: optuna.study.StudyDirection) -> list[FrozenTrial]:
    """All that run, the latest that have ended, and the best of those before, in order."""
    ended = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    if len(ended) <= BEST + LATEST:
        return trials
    sign = 1 if direction == optuna.study.StudyDirection.MINIMIZE else -1

    def rank(trial: FrozenTrial) -> tuple[float, float]:  # as TPE ranks: pruned ones by how far they came
        if trial.state == TrialState.COMPLETE:
            return -float("inf"), sign * (trial.value or 0.0)
        step, value = max(trial.intermediate_values.items(), default=(-1, 0.0))
        return -step, sign * value

    kept = heapq.nsmallest(BEST, ended[:-LATEST], key=rank) + ended[-LATEST:]
    kept += [trial for trial in trials if trial.state == TrialState.RUNNING]
    return sorted(kept, key=lambda trial: trial.number)


def sampler(method: str, seed: int) -> optuna.samplers.BaseSampler:
    """The sampler of a search method: tpe, or random."""
    if method != "tpe":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return BoundedTPE(seed=seed, multivariate=True, group=True, constant_liar=True)
