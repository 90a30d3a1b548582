"""Classification metrics, all derived from one confusion matrix and one score matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
SMALLEST = 2.0**-24  # probability that float16 can hold


def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, classes: int) -> Ints:
    """How often each class was predicted as each.

    labels, predicted: (N,) integers in [0, classes). Returns (K, K) counts, rows true, columns predicted. Raises
    ValueError where a label is outside or the lengths differ.
    """
    true, guess = np.asarray(labels, np.int64), np.asarray(predicted, np.int64)
    if true.shape != guess.shape or true.ndim != 1:
        raise ValueError(f"labels and predictions differ in shape: {true.shape} and {guess.shape}")
    if true.size and (min(true.min(), guess.min()) < 0 or max(true.max(), guess.max()) >= classes):
        raise ValueError(f"a label is outside 0..{classes - 1}")
    return np.bincount(true * classes + guess, minlength=classes**2).reshape(classes, classes)  # (K, K)


def predicted_classes(scores: ArrayLike, labels: ArrayLike) -> Ints:
    """The class with the highest score of each image: (N, K) scores and (N,) true classes give (N,).

    Scores that are NaN are no prediction and count as wrong, as the class after the true one: scikit-learn refuses
    them, and argmax would take them for class 0.
    """
    score, true = _checked(scores, labels)
    unknown = np.isnan(score).any(1)
    found: Ints = np.where(unknown, (true + 1) % score.shape[1], score.argmax(1))
    return found


def most_confused_pairs(confusion: Ints, most: int) -> list[tuple[int, int, int]]:
    """The most frequent confusions: (true, predicted, count), at most `most` of them."""
    wrong = np.array(confusion)
    np.fill_diagonal(wrong, 0)
    pairs = [divmod(int(place), len(wrong)) for place in np.argsort(-wrong, axis=None, kind="stable")[:most]]
    return [(true, guess, int(wrong[true, guess])) for true, guess in pairs if wrong[true, guess]]


def accuracy(confusion: Ints) -> float:
    """The share of samples on the diagonal, in [0, 1]; NaN without samples."""
    total = int(confusion.sum())
    return float(np.trace(confusion)) / total if total else float("nan")


@dataclass(frozen=True)
class PerClass:
    """Precision, recall, F1 in [0, 1] and the number of true samples of each class, all (K,).

    Precision is 0 for a class that was never predicted, recall and F1 are 0 for one without a hit (scikit-learn's
    `zero_division=0`). A class without a true sample has NaN, and averages leave it out, like scikit-learn with
    labels=unique(y_true); by default scikit-learn counts it as 0 once it is predicted.
    """

    precision: Floats
    recall: Floats
    f1: Floats
    support: Ints

    def macro(self, values: Floats) -> float:
        """The plain mean of `values` (K,) over the classes that have samples; NaN without samples."""
        present = self.support > 0
        return float(values[present].mean()) if present.any() else float("nan")

    def weighted(self, values: Floats) -> float:
        """The mean of `values` (K,) over the samples' classes; NaN without samples."""
        present, total = self.support > 0, int(self.support.sum())  # values of an absent class may be NaN
        return float(values[present] @ self.support[present]) / total if total else float("nan")


def per_class(confusion: Ints) -> PerClass:
    """Precision, recall, F1 and support of each class of a (K, K) confusion matrix."""
    hits = np.diag(confusion).astype(np.float64)  # (K,)
    support, predicted = confusion.sum(1), confusion.sum(0)  # (K,)
    judged = np.where(support > 0, 1.0, np.nan)  # (K,)
    precision = judged * hits / np.maximum(predicted, 1)
    recall = judged * hits / np.maximum(support, 1)
    f1 = judged * 2 * hits / np.maximum(support + predicted, 1)
    return PerClass(precision, recall, f1, support)


def macro_f1(confusion: Ints) -> float:
    """The mean F1 in [0, 1] over the classes that have a true sample; NaN without samples.

    A class that no sample judges is left out, even where it is predicted: scikit-learn's labels=unique(y_true).
    """
    scores = per_class(confusion)
    return scores.macro(scores.f1)


def metric_per_image(metric: str, labels: NDArray[Any], scores: NDArray[Any]) -> NDArray[Any]:
    """The contribution of each image to a metric: (N,) values whose mean is the metric.

    For macro F1, which is not a mean over images, the values are those of the infinitesimal jackknife: the change of
    the metric with more images like this one (Efron, Biometrika 68(3), 1981). An image whose probabilities are NaN is
    wrong, with the highest possible loss.

    Args:
        metric: accuracy, macro_f1 or loss.
        labels: (N,) true classes.
        scores: (N, K) probabilities.
    """
    guess = predicted_classes(scores, labels)  # (N,)
    if metric == "accuracy":
        return np.asarray(guess == labels)
    if metric == "loss":
        own = scores[np.arange(len(labels)), labels].astype(np.float64)
        return np.asarray(-np.log(np.fmax(own, SMALLEST)))
    matrix = confusion_matrix(labels, guess, scores.shape[1])
    found = per_class(matrix)
    size = np.maximum(found.support + matrix.sum(0), 1)  # (K,), the denominators of F1
    share = (found.support > 0) / np.count_nonzero(found.support) * len(labels) / size  # (K,)
    hit = 2.0 * share[labels] * (guess == labels)
    part = np.where(found.support > 0, share * found.f1, 0.0)  # (K,)
    return np.asarray(found.macro(found.f1) + hit - part[labels] - part[guess])


def to_float16(scores: NDArray[Any]) -> NDArray[np.float16]:
    """Probabilities (N, K) as float16; the highest of a row stays the highest where others round to the same value."""
    rounded = scores.astype(np.float16)
    rows = np.flatnonzero(rounded.argmax(1) != scores.argmax(1))
    top = scores[rows].argmax(1)
    rounded[rows, top] = np.nextafter(rounded[rows, top], np.float16(2))
    return rounded


def top_k(scores: ArrayLike, labels: ArrayLike, k: int) -> float:
    """The share of samples whose class is among the `k` best scores, in [0, 1].

    scores: (N, K), any monotone score; labels: (N,). Of equal scores the lower class comes first, so that k = 1 agrees
    with argmax; a NaN is never among the best. k of K or more gives 1; NaN without samples.
    """
    score, true = _checked(scores, labels)
    if not len(true):
        return float("nan")
    own = score[np.arange(len(true)), true][:, None]  # (N, 1)
    later = np.arange(score.shape[1])[None] >= true[:, None]  # (N, K), the true class itself included
    rank = (~((score < own) | ((score == own) & later))).sum(1)  # (N,), 0 is best; NaN beats nothing
    return float((rank < k).mean())


def roc_auc(scores: ArrayLike, labels: ArrayLike) -> Floats:
    """One-vs-rest area under the ROC curve of each class, in [0, 1], by ranks (Mann-Whitney U; ties count half).

    scores: (N, K); labels: (N,). Returns (K,), NaN for a class that has no sample or all of them, or
    a score that is NaN.
    """
    score, true = _checked(scores, labels)
    areas = np.full(score.shape[1], np.nan)
    for label in range(score.shape[1]):
        positive = true == label
        hits, misses = int(positive.sum()), int((~positive).sum())
        if hits and misses and not np.isnan(score[:, label]).any():
            rank_sum = _average_ranks(score[:, label])[positive].sum()
            areas[label] = (rank_sum - hits * (hits + 1) / 2) / (hits * misses)
    return areas


def roc_curve(scores: ArrayLike, positive: ArrayLike) -> tuple[Floats, Floats]:
    """False and true positive rates, both rising from 0 to 1, as the threshold falls past each distinct score.

    scores: (N,) of one class; positive: (N,) booleans, with at least one of each. Returns two (P,) arrays. Raises
    ValueError where one side is empty.
    """
    score, hit = np.asarray(scores, np.float64), np.asarray(positive, bool)
    if hit.all() or not hit.any():
        raise ValueError("a ROC curve needs positive and negative samples")
    order = np.argsort(-score, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    true = np.cumsum(hit[order])[last_of_tie]
    false = 1 + last_of_tie - true
    return np.append(0.0, false / false[-1]), np.append(0.0, true / true[-1])


def expected_calibration_error(scores: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """The gap between confidence and accuracy, averaged over `bins` equal bins weighted by their samples, in [0, 1].

    scores: (N, K) probabilities that sum to 1 per row, rows with NaN are left out; labels: (N,). arXiv 1706.04599,
    equation 3: bins are (lower, upper]. Raises ValueError where rows are not probabilities (take the softmax first);
    NaN without samples.
    """
    score, true = _checked(scores, labels)
    known = ~np.isnan(score).any(1)  # (N,)
    score, true = score[known], true[known]
    if not len(true):
        return float("nan")
    if score.min() < 0 or np.abs(score.sum(1) - 1).max() > 1e-3:
        raise ValueError("scores are not probabilities: take the softmax first")
    confidence, right = score.max(1), score.argmax(1) == true  # (N,)
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    place = np.digitize(confidence, edges, right=True)  # (N,)
    gaps = np.bincount(place, confidence - right, minlength=bins)  # per bin: samples times its gap
    return float(np.abs(gaps).sum() / len(true))


def softmax(logits: ArrayLike) -> Floats:
    """Logits (N, K) as probabilities (N, K), without overflow."""
    values = np.asarray(logits, np.float64)
    values = np.exp(values - values.max(1, keepdims=True))
    result: Floats = values / values.sum(1, keepdims=True)
    return result


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, Ints]:
    """Scores (N, K) and labels (N,) as arrays; ValueError where they do not fit."""
    score: NDArray[Any] = np.asarray(scores, np.float64)
    true: NDArray[Any] = np.asarray(labels, np.int64)
    if score.ndim != 2 or true.shape != score.shape[:1]:
        raise ValueError(f"scores {score.shape} do not fit labels {true.shape}")
    if true.size and (true.min() < 0 or true.max() >= score.shape[1]):
        raise ValueError(f"a label is outside 0..{score.shape[1] - 1}")
    return score, true


def _average_ranks(values: Floats) -> Floats:
    """Ranks from 1 of (N,) values; equal ones share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Floats = (ends - (counts - 1) / 2)[place]
    return ranks
