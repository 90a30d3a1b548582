"""The confirmed alternatives compared on test."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwcls.metrics import metric_per_image
from hwcls.results.confirm.plan import confirm_metric, point_runs, winner_runs
from hwcls.results.load import ConfirmRun, SweepResults
from hwcls.statistics import Comparison, Difference, Estimate, bootstrap_mean
from hwcls.training.artifacts import load_arrays

SHOWN = 5e-5  # a smaller difference is shown as 0, of accuracies in points and of other metrics


@dataclass(frozen=True)
class ConfirmComparison:
    """The alternatives scored on test, and their comparison."""

    labels: tuple[str, ...]
    comparison: Comparison
    runs: tuple[tuple[ConfirmRun, ...], ...]  # of each label: those whose predictions are compared
    metric: str = "test/accuracy"
    goal: str = "maximize"
    guessing: float | None = None  # what guessing gives: the most frequent class of test, macro metrics 1/K

    @property
    def best(self) -> str:
        """The label with the best mean."""
        return max(self.labels, key=lambda label: self._sign * self.estimate(label).mean)

    @property
    def _sign(self) -> int:
        return -1 if self.goal == "minimize" else 1

    def estimate(self, label: str) -> Estimate:
        """Mean and interval of one alternative's metric on test."""
        return self.comparison.estimates[self.labels.index(label)]

    def is_guessing(self, label: str) -> bool:
        """Whether the interval of `label` is not wholly better than what guessing gives."""
        return self.guessing is not None and self.estimate(label).low <= self.guessing

    def seeds(self, label: str) -> int:
        """The number of runs that the estimate of `label` covers."""
        return len(self.covered(label))

    def covered(self, label: str) -> tuple[ConfirmRun, ...]:
        """The runs that the estimate of `label` covers."""
        return self.runs[self.labels.index(label)]

    def equal_to(self, label: str) -> list[str]:
        """The other alternatives whose mean is shown as the same as that of `label`."""
        return [other for other, pair in self.differences_to(label) if abs(pair.mean) < SHOWN]

    def differences_to(self, label: str) -> list[tuple[str, Difference]]:
        """(other, lead of `label`) for every other alternative, the smallest lead first."""
        place = self.labels.index(label)
        rows = []
        for pair in self.comparison.differences:
            if place in (pair.first, pair.second):
                other = pair.second if place == pair.first else pair.first
                ahead = (place == pair.first) == (self._sign > 0)
                rows.append((self.labels[other], pair if ahead else _swap(pair)))
        return sorted(rows, key=lambda row: row[1].mean)

    def ordered_pairs(self) -> list[tuple[str, str, Difference]]:
        """(better, worse, difference) for every pair, the largest difference first."""
        rows = []
        for pair in self.comparison.differences:
            first, second = self.labels[pair.first], self.labels[pair.second]
            ahead = self._sign * pair.mean >= 0
            better, worse = (first, second) if ahead else (second, first)
            rows.append((better, worse, pair if pair.mean >= 0 else _swap(pair)))
        return sorted(rows, key=lambda row: -row[2].mean)


@functools.lru_cache(maxsize=1)
def compare_confirmed(sweep: SweepResults) -> ConfirmComparison | None:
    """Compare the scores on test by the sweep's metric; None until an alternative has two seeds there."""
    return _compare(sweep, winner_runs(sweep))


@functools.lru_cache(maxsize=1)
def compare_points(sweep: SweepResults) -> ConfirmComparison | None:
    """The same of the confirmed trials of a sweep with several metrics, by `name_point`."""
    return _compare(sweep, {name_point(number): runs for number, runs in point_runs(sweep).items()})


def name_point(number: int) -> str:
    """A confirmed trial, where it is not its alternative that is compared."""
    return f"trial {number}"


def _compare(sweep: SweepResults, runs: Mapping[str, Sequence[ConfirmRun]]) -> ConfirmComparison | None:
    metric = confirm_metric(sweep)
    tables: dict[str, list[NDArray[Any]]] = {}
    covered: dict[str, list[ConfirmRun]] = {}
    truth: NDArray[Any] | None = None
    for label, run in ((label, run) for label, found in runs.items() for run in found):
        scored = _scored(run, metric)
        if scored is None:
            continue
        labels, values = scored
        truth = labels if truth is None else truth
        if np.array_equal(labels, truth):  # another split cannot be paired
            tables.setdefault(label, []).append(values)
            covered.setdefault(label, []).append(run)
    stacked = {label: np.stack(rows) for label, rows in tables.items() if len(rows) >= 2}  # (S, N) each
    if truth is None or len(truth) < 2 or not stacked:
        return None
    most = math.inf if metric == "test/loss" else 1.0
    compared = bootstrap_mean(list(stacked.values()), most=most, look=max(1, len(sweep.looks)))
    own = tuple(tuple(covered[label]) for label in stacked)
    return ConfirmComparison(tuple(stacked), compared, own, metric, sweep.goal, _guess(metric, truth))


def _guess(metric: str, truth: NDArray[Any]) -> float | None:
    """What guessing gives on test with the true classes (N,); None for a loss."""
    counts = np.unique(truth, return_counts=True)[1]
    return {"test/accuracy": float(counts.max() / len(truth)), "test/macro_f1": 1 / len(counts)}.get(metric)


def _scored(run: ConfirmRun, metric: str) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """The true classes and each image's share of the metric, (N,) both; None for a run not scored on test."""
    if run.test is None:
        return None
    stored = load_arrays(run.run.folder / "test_predictions.npz")
    labels, scores = stored.get("labels"), stored.get("scores")  # (N,), (N, K)
    if labels is None or scores is None or scores.ndim != 2 or labels.shape != scores.shape[:1]:
        return None
    values = metric_per_image(metric.partition("/")[2], labels, scores)
    if values.dtype != np.bool_ and metric in run.test:
        values = values + (run.test[metric] - values.mean())  # the scores are rounded to float16, the record is not
    return labels, values


def _swap(pair: Difference) -> Difference:
    return replace(pair, first=pair.second, second=pair.first, mean=-pair.mean, low=-pair.high, high=-pair.low)
