"""The best trial of each alternative, looked at closely: what it predicted, and what was seen while it was trained."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwcls import metrics
from hwcls.results.load import SweepResults, TrialResult
from hwcls.training.artifacts import load_arrays, load_confusions

MOST = 6  # alternatives that are looked at, the best ones
PAIRS = 20  # of classes that were confused most
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """One trial with N validation images of K classes."""

    name: str  # of its alternative, or "trial 7"
    trial: TrialResult
    labels: NDArray[Any]  # (N,) true classes
    scores: NDArray[Any]  # (N, K) probabilities at `epoch`
    epoch: int  # the best one, in mid-run that of the last checkpoint
    confusions: Mapping[int, NDArray[Any]]  # by epoch: (K, K), rows true, columns predicted
    inspection: Arrays  # inspection.npz

    @functools.cached_property
    def confusion(self) -> NDArray[Any]:
        """At `epoch`."""
        return metrics.confusion_matrix(self.labels, self.scores.argmax(1), self.scores.shape[1])

    @functools.cached_property
    def per_class(self) -> metrics.PerClass:
        """Precision, recall, F1 and the number of images of each class."""
        return metrics.per_class(self.confusion)

    @functools.cached_property
    def auc(self) -> NDArray[Any]:
        """(K,) one-vs-rest areas under the ROC curves, NaN for a class without images."""
        return metrics.roc_auc(self.scores, self.labels)

    def order_classes(self) -> list[int]:
        """The classes so that those which are taken for one another stand side by side.

        A walk that goes on, from class to class, to the one that shares most of its errors with the last.
        """
        wrong = self.confusion + self.confusion.T  # (K, K)
        np.fill_diagonal(wrong, 0)
        left = set(range(len(wrong)))
        place = int(wrong.sum(1).argmax())
        found = []
        while True:
            found.append(place)
            left.discard(place)
            if not left:
                return found
            place = max(left, key=lambda other: (wrong[place, other], wrong[other].sum(), -other))

    def worst_pairs(self, classes: list[str]) -> list[tuple[str, str, int, float]]:
        """(true, predicted, images, share of the true class) of the pairs that were confused most often."""
        pairs, images = metrics.worst_pairs(self.confusion, PAIRS), self.confusion.sum(1)
        return [(classes[true], classes[guess], count, count / int(images[true])) for true, guess, count in pairs]


def load_diagnostics(sweep: SweepResults) -> list[Diagnostics]:
    """The best trial of each alternative that kept its predictions, the best first, MOST of them at most."""
    firsts: dict[str | None, TrialResult] = {}
    for trial in sweep.ranked():
        if trial.value is not None and not trial.failed:
            firsts.setdefault(trial.label, trial)
    found = [_load_trial(trial.folder, trial.label, trial) for trial in list(firsts.values())[:MOST]]
    classes = len(class_names(sweep))
    return [one for one in found if one is not None and (not classes or one.scores.shape[1] == classes)]


def class_names(sweep: SweepResults) -> list[str]:
    """The classes by number; empty where they are not on record."""
    names = (sweep.data or {}).get("classes")
    return [str(name) for name in names] if isinstance(names, list) else []


def _load_trial(folder: Path, label: str | None, trial: TrialResult) -> Diagnostics | None:
    predictions = load_arrays(folder / "predictions.npz")
    labels, scores = predictions.get("labels"), predictions.get("scores")
    if labels is None or scores is None or scores.ndim != 2 or labels.shape != scores.shape[:1] or not len(labels):
        return None
    name = f"trial {trial.number}" if label is None else str(label)
    confusions = {epoch: matrix for epoch, matrix in load_confusions(folder).items() if len(matrix) == scores.shape[1]}
    epoch = int(predictions.get("epoch", (trial.best or {}).get("epoch") or 0))
    seen = load_arrays(folder / "inspection.npz")
    return Diagnostics(name, trial, labels, scores.astype(np.float32), epoch, confusions, seen)
