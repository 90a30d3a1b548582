"""The trial that represents each alternative in detail: its predictions, and what training recorded."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwcls import metrics
from hwcls.results.load import SweepResults, TrialResult
from hwcls.results.representatives import Representative, choose_representatives
from hwcls.training.artifacts import load_arrays, load_confusions

MAX_ALTERNATIVES = 6  # the best ones
MAX_PAIRS = 20  # of confused classes
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """One trial with N validation images of K classes."""

    name: str  # of its alternative, or "trial 7"
    trial: TrialResult
    labels: NDArray[Any]  # (N,) true classes
    scores: NDArray[Any]  # (N, K) probabilities at `epoch`
    epoch: int  # the best one; while the trial runs, that of the last checkpoint
    confusions: Mapping[int, NDArray[Any]]  # by epoch: (K, K), rows true, columns predicted
    inspection: Arrays  # inspection.npz

    @functools.cached_property
    def predicted(self) -> NDArray[Any]:
        """(N,) at `epoch`."""
        return metrics.predicted_classes(self.scores, self.labels)

    @functools.cached_property
    def confusion(self) -> NDArray[Any]:
        """At `epoch`."""
        return metrics.confusion_matrix(self.labels, self.predicted, self.scores.shape[1])

    @functools.cached_property
    def per_class(self) -> metrics.PerClass:
        """Precision, recall, F1 and the number of images of each class."""
        return metrics.per_class(self.confusion)

    @functools.cached_property
    def auc(self) -> NDArray[Any]:
        """(K,) one-vs-rest areas under the ROC curves, NaN for a class without images."""
        return metrics.roc_auc(self.scores, self.labels)

    def order_classes(self) -> list[int]:
        """An order of the classes in which confused ones are neighbours."""
        return cluster_classes(self.confusion)

    def most_confused_pairs(self, classes: list[str]) -> list[tuple[str, str, int, float]]:
        """(true, predicted, images, share of the true class) of the most frequent confusions."""
        pairs, images = metrics.most_confused_pairs(self.confusion, MAX_PAIRS), self.confusion.sum(1)
        return [(classes[true], classes[guess], count, count / int(images[true])) for true, guess, count in pairs]


def cluster_classes(confusion: NDArray[Any]) -> list[int]:
    """An order of the classes of a (K, K) confusion matrix in which confused ones are neighbours.

    Greedy: each class is followed by the one that it is most often confused with.
    """
    wrong = confusion + confusion.T  # (K, K)
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


@functools.lru_cache(maxsize=1)
def load_diagnostics(sweep: SweepResults) -> list[Diagnostics]:
    """The representative of each of the best MAX_ALTERNATIVES, the best first; those without predictions left out."""
    found = [_load_trial(one) for one in choose_representatives(sweep)[:MAX_ALTERNATIVES]]
    classes = len(class_names(sweep))
    return [one for one in found if one is not None and (not classes or one.scores.shape[1] == classes)]


def class_names(sweep: SweepResults) -> list[str]:
    """The class names in order of their numbers; empty if they are not recorded."""
    names = (sweep.data or {}).get("classes")
    return [str(name) for name in names] if isinstance(names, list) else []


def _load_trial(one: Representative) -> Diagnostics | None:
    trial, folder = one.trial, one.trial.folder
    predictions = load_arrays(folder / "predictions.npz")
    labels, scores = predictions.get("labels"), predictions.get("scores")
    if labels is None or scores is None or scores.ndim != 2 or labels.shape != scores.shape[:1] or not len(labels):
        return None
    confusions = {epoch: matrix for epoch, matrix in load_confusions(folder).items() if len(matrix) == scores.shape[1]}
    epoch = int(predictions.get("epoch", (trial.best or {}).get("epoch") or 0))
    seen = load_arrays(folder / "inspection.npz")
    return Diagnostics(one.name, trial, labels, scores.astype(np.float32), epoch, confusions, seen)
