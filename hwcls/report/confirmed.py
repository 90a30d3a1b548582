"""What the confirm runs allow to be said on test."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwcls.report.load import ConfirmRun, SweepResults
from hwcls.statistics import Comparison, Difference, Estimate, bootstrap_mean


@dataclass(frozen=True)
class Confirmed:
    """The alternatives that were scored on test, and their comparison."""

    labels: tuple[str, ...]
    comparison: Comparison

    @property
    def best(self) -> str:
        """The label with the highest mean."""
        return max(self.labels, key=lambda label: self.estimate(label).mean)

    def estimate(self, label: str) -> Estimate:
        """Mean and interval of one alternative's test accuracy."""
        return self.comparison.estimates[self.labels.index(label)]

    def seeds(self, label: str) -> int:
        """How many runs of `label` were scored."""
        return self.comparison.seeds[self.labels.index(label)]

    def against(self, label: str) -> list[tuple[str, Difference]]:
        """(other, `label` minus other) for every other alternative, the smallest difference first."""
        place = self.labels.index(label)
        rows = []
        for pair in self.comparison.differences:
            if place == pair.first:
                rows.append((self.labels[pair.second], pair))
            elif place == pair.second:
                rows.append((self.labels[pair.first], _turned(pair)))
        return sorted(rows, key=lambda row: row[1].mean)

    def pairs(self) -> list[tuple[str, str, Difference]]:
        """(better, worse, better minus worse) of every pair, the largest difference first."""
        turned = [pair if pair.mean >= 0 else _turned(pair) for pair in self.comparison.differences]
        rows = [(self.labels[pair.first], self.labels[pair.second], pair) for pair in turned]
        return sorted(rows, key=lambda row: -row[2].mean)


@functools.lru_cache(maxsize=4)
def confirmed(sweep: SweepResults) -> Confirmed | None:
    """Compare what was scored on test; None until an alternative has two seeds scored there."""
    winners = _winners(sweep)
    tables: dict[str, list[NDArray[np.bool_]]] = {}
    truth: NDArray[Any] | None = None
    for run in sweep.confirm:
        scored = _scored(run) if run.run.number == winners.get(run.label) else None
        if scored is None:
            continue
        labels, correct = scored
        truth = labels if truth is None else truth
        if np.array_equal(labels, truth):  # on another split it could not be paired
            tables.setdefault(run.label, []).append(correct)
    stacked = {label: np.stack(rows) for label, rows in tables.items() if len(rows) >= 2}  # (S, N) each
    if truth is None or len(truth) < 2 or not stacked:
        return None
    return Confirmed(tuple(stacked), bootstrap_mean(list(stacked.values())))


def _winners(sweep: SweepResults) -> dict[str, int]:
    """The confirmed trial of each alternative with the best mean on val: a longer search may have changed it."""
    values: dict[tuple[str, int], list[float]] = {}
    for run in sweep.confirm:
        if run.run.value is not None:
            values.setdefault((run.label, run.run.number), []).append(sweep.sign * run.run.value)
    winners: dict[str, int] = {}
    for (label, trial), found in values.items():
        if label not in winners or np.mean(found) > np.mean(values[label, winners[label]]):
            winners[label] = trial
    return winners


def _scored(run: ConfirmRun) -> tuple[NDArray[Any], NDArray[np.bool_]] | None:
    """The true classes and whether each was hit, (N,) both; None when the run was not scored on test."""
    if run.test is None:
        return None
    try:
        with np.load(run.run.folder / "test_predictions.npz", allow_pickle=False) as arrays:
            labels, scores = arrays["labels"], arrays["scores"]  # (N,), (N, K)
    except (OSError, ValueError, KeyError, EOFError):
        return None
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        return None
    return labels, scores.argmax(1) == labels


def _turned(pair: Difference) -> Difference:
    return replace(pair, first=pair.second, second=pair.first, mean=-pair.mean, low=-pair.high, high=-pair.low)
