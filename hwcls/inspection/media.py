"""What a tracker shows of a finished trial besides numbers, made from the trial's folder."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwcls import metrics
from hwcls.errors import UserError
from hwcls.inspection.pictures import (
    draw_activations,
    draw_confusion,
    draw_predictions,
    draw_reconstructions,
    open_images,
)
from hwcls.tracking.folders import TrialFolder
from hwcls.tracking.media import Histogram, Media
from hwcls.training.artifacts import load_arrays

COLUMNS = ("class", "images", "precision", "recall", "f1", "auc")


def build_media(folder: TrialFolder) -> Media | None:
    """Predictions on val, metrics by class, pictures and histograms; None without predictions.

    Pictures of predictions need the images on this machine; everything else comes from the folder itself.
    """
    stored, recorded = load_arrays(folder.path / "predictions.npz"), load_arrays(folder.path / "inspection.npz")
    if not {"labels", "scores"} <= stored.keys() or not len(stored["labels"]):
        return None
    labels, scores = stored["labels"], stored["scores"].astype(np.float32)
    predicted = metrics.predicted_classes(scores, labels)
    confusion = metrics.confusion_matrix(labels, predicted, scores.shape[1])
    opened = open_images(folder.path)
    if opened and (len(opened.classes), len(opened.val)) != (scores.shape[1], len(labels)):
        opened = None  # the data has changed since
    names = opened.classes if opened else tuple(str(place) for place in range(scores.shape[1]))
    pictures = {"confusion": np.asarray(draw_confusion(confusion, names))}
    if opened:
        pictures["predictions"] = np.asarray(draw_predictions(opened, opened.val, labels, scores, _title(folder)))
    if {"activation_image", "activations"} <= recorded.keys():
        pictures["activations"] = np.asarray(draw_activations(recorded["activation_image"], recorded["activations"]))
    if {"reconstructions/input", "reconstructions/output"} <= recorded.keys():
        sheet = draw_reconstructions(recorded["reconstructions/input"], recorded["reconstructions/output"])
        pictures["reconstructions"] = np.asarray(sheet)
    return Media(
        names,
        labels,
        predicted,
        COLUMNS,
        _rows(names, labels, scores, confusion),
        pictures,
        _histograms(recorded),
    )


def _rows(
    names: tuple[str, ...], labels: NDArray[Any], scores: NDArray[Any], confusion: NDArray[Any]
) -> tuple[tuple[Any, ...], ...]:
    found, areas = metrics.per_class(confusion), metrics.roc_auc(scores, labels)
    table = zip(names, found.support, found.precision, found.recall, found.f1, areas, strict=True)
    return tuple((name, int(images), *map(float, values)) for name, images, *values in table)


def _histograms(recorded: dict[str, NDArray[Any]]) -> tuple[Histogram, ...]:
    """The histograms of weights and gradients, by layer and epoch."""
    found = []
    for key in recorded:
        kind, _, layer = key.removesuffix("/counts").partition("/")
        if not key.endswith("/counts") or f"{kind}/{layer}/edges" not in recorded or f"{kind}/epochs" not in recorded:
            continue
        rows = zip(recorded[f"{kind}/epochs"], recorded[f"{kind}/{layer}/edges"], recorded[key], strict=True)
        found += [Histogram(f"{kind}/{layer}", int(epoch), edges, counts) for epoch, edges, counts in rows]
    return tuple(found)


def _title(folder: TrialFolder) -> str:
    try:
        model = folder.config().model
    except UserError:
        return folder.path.name
    return model.label or model.name
