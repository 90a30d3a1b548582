"""Scores of saved weights on a split, and the metrics computed from them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from hwcls import metrics
from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import ImageSet, open_data
from hwcls.data.loader import Batch, Feed
from hwcls.data.progress import ProgressMeter, ProgressReporter
from hwcls.errors import UserError
from hwcls.inspection.load_trained import Classifier, Trained, inference_precision, restore_model
from hwcls.training import evaluation
from hwcls.training.features.head import find_features

SplitName = Literal["train", "val", "test"]
ROC = 100  # points of a curve at most
BATCH = 256


@dataclass(frozen=True)
class SplitScores:
    """A model's scores on a split of N images and K classes."""

    values: dict[str, float]  # test/loss, test/accuracy, test/macro_f1 (or val/..., train/...)
    labels: np.ndarray[Any, Any]  # (N,) int64
    scores: np.ndarray[Any, Any]  # (N, K) probabilities
    confusion: np.ndarray[Any, Any]  # (K, K) int64, rows true, columns predicted


def evaluate_weights(config: TrialConfig, weights: bytes, split: SplitName, device: torch.device) -> SplitScores:
    """Score the weights (a safetensors file's content) of a trial on one split, unaugmented; scores are float16.

    Where its features are cached, only the head runs.

    Raises:
        UserError: The weights are no safetensors file or belong to another model.
    """
    data = open_data(config.data)
    model = restore_model(config, data, weights, device)
    scored = _score_features(model, config, data, split, device) or score_split(model, config, data, split, device)
    return SplitScores(scored.values, scored.labels, metrics.to_float16(scored.scores), scored.confusion)


def evaluate_trial(trained: Classifier, split: SplitName, report: ProgressReporter | None = None) -> SplitScores:
    """Score a trial's best weights, or models that are averaged, on one split; scores are float32.

    The images are unaugmented, unless several views are averaged; `report` gets the progress of an average. Raises
    UserError where the data sets of models that are averaged hold different images.
    """
    if isinstance(trained, Trained) and trained.views == 1:
        return score_split(trained.model, trained.config, trained.data, split, trained.device)
    parts = [getattr(data, split) for data in trained.data_sets]
    labels = parts[0].labels
    if not all(np.array_equal(part.labels, labels) for part in parts):
        what = f"its models have different images in {split}: the data set has changed since they were trained"
        raise UserError(what, where=str(trained.path), remedy="restore the images, or train again")
    scores = np.zeros((len(labels), len(trained.classes)), np.float32)  # (N, K)
    meter = ProgressMeter(report or _ignore, split, len(labels), "images")
    for start in range(0, len(labels), BATCH):
        some = slice(start, start + BATCH)
        scores[some] = trained.probabilities(*(part.images[part.rows[some]] for part in parts))
        meter.update(min(start + BATCH, len(labels)))
    return measure_scores(split, labels, scores)


def _ignore(line: str) -> None:
    pass


def measure_scores(split: SplitName, labels: np.ndarray[Any, Any], scores: np.ndarray[Any, Any]) -> SplitScores:
    """The metrics of probabilities (N, K) of a split whose true classes are (N,)."""
    confusion = metrics.confusion_matrix(labels, metrics.predicted_classes(scores, labels), scores.shape[1])
    values = {
        f"{split}/loss": float(metrics.metric_per_image("loss", labels, scores).mean()),
        f"{split}/accuracy": metrics.accuracy(confusion),
        f"{split}/macro_f1": metrics.macro_f1(confusion),
    }
    return SplitScores(values, labels, scores, confusion)


def score_split(
    model: nn.Module, config: TrialConfig, data: ImageSet, split: SplitName, device: torch.device
) -> SplitScores:
    """Run a model in evaluation mode over a split, in its order."""
    feed = Feed(data, config.data, seed=config.seed, device=device)
    return _score(model, feed.evaluate(split, BATCH), config, data, split, device)


def _score_features(
    model: nn.Module, config: TrialConfig, data: ImageSet, split: SplitName, device: torch.device
) -> SplitScores | None:
    """As `score_split`, by the cached features of a split; None where there are none of this model."""
    if config.cached_views(data.augment) is None:
        return None
    backbone, head = config.model.split(model)
    feed = find_features(config, data, split, backbone, device)
    if feed is None:
        return None
    return _score(head, feed.evaluate(split, feed.evaluation_size(BATCH)), config, data, split, device)


def _score(
    model: nn.Module,
    batches: Iterable[Batch],
    config: TrialConfig,
    data: ImageSet,
    split: SplitName,
    device: torch.device,
) -> SplitScores:
    part, classes = getattr(data, split), len(data.classes)
    found = evaluation.score_batches(model, batches, classes, device, inference_precision(config, device))
    confusion = found.confusion.cpu().numpy()
    values = {
        f"{split}/loss": float(found.loss) / len(part),
        f"{split}/accuracy": metrics.accuracy(confusion),
        f"{split}/macro_f1": metrics.macro_f1(confusion),
    }
    return SplitScores(values, part.labels, found.scores.cpu().numpy(), confusion)


def summarise_scores(scored: SplitScores, classes: tuple[str, ...]) -> dict[str, Any]:
    """All metrics of the scores, as JSON-ready values; undefined ones are None.

    `accuracy`, `top5` (with more than 5 classes), `loss`, `macro` and `weighted` precision, recall, F1; `auc` (the mean
    of the classes' one-vs-rest AUCs), `ece` (expected calibration error, 15 bins); the same for each of `classes`,
    with its one-vs-rest curve `roc` ([false positive rates, true positive rates], at most ROC points); `confusion`,
    rows true.
    """
    of_class, areas = metrics.per_class(scored.confusion), metrics.roc_auc(scored.scores, scored.labels)
    columns = {"precision": of_class.precision, "recall": of_class.recall, "f1": of_class.f1, "auc": areas}
    rows = []
    for place, name in enumerate(classes):
        row = {key: _number(values[place]) for key, values in columns.items()}
        curve = _roc(scored.scores[:, place], scored.labels == place)
        rows.append({"class": name, **row, "images": int(of_class.support[place]), "roc": curve})
    known = areas[~np.isnan(areas)]
    return {
        **{name.partition("/")[2]: _number(value) for name, value in scored.values.items() if "f1" not in name},
        "top5": _number(metrics.top_k(scored.scores, scored.labels, 5)) if len(classes) > 5 else None,
        "macro": {key: _number(of_class.macro(columns[key])) for key in ("precision", "recall", "f1")},
        "weighted": {key: _number(of_class.weighted(columns[key])) for key in ("precision", "recall", "f1")},
        "auc": _number(known.mean()) if len(known) else None,
        "ece": _number(metrics.expected_calibration_error(scored.scores, scored.labels)),
        "images": len(scored.labels),
        "classes": rows,
        "confusion": scored.confusion.tolist(),
    }


def _roc(scores: Any, positive: Any) -> list[list[float]] | None:
    """A class's curve, thinned to ROC points; None where the class has no image or all of them."""
    if positive.all() or not positive.any():
        return None
    curve = np.stack(metrics.roc_curve(scores, positive))  # (2, P)
    kept = np.unique(np.linspace(0, curve.shape[1] - 1, ROC).round().astype(int))
    found: list[list[float]] = curve[:, kept].round(4).tolist()
    return found


def most_confused(found: dict[str, Any], most: int = 10) -> list[tuple[str, str, int]]:
    """The pairs of classes that are confused most often: (true, predicted, count)."""
    names = [row["class"] for row in found["classes"]]
    pairs = metrics.most_confused_pairs(np.array(found["confusion"]), most)
    return [(names[true], names[guess], count) for true, guess, count in pairs]


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
