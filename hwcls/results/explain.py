"""Two trials compared: their settings, their recall by class, and the images on which they differ."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from hwcls.config.data import DataConfig
from hwcls.config.trial import flatten
from hwcls.data.augment.defaults import spell_out_recorded
from hwcls.errors import UserError, wrong_folder
from hwcls.escape import printable
from hwcls.metrics import predicted_classes
from hwcls.reading import DamagedFile
from hwcls.results.load import read_data
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.training.artifacts import load_arrays

PARTS = ("data", "model", "optimizer")  # of every config.yaml; one that was cut off may lack some


@dataclass(frozen=True)
class TrialComparison:
    """How two trials differ on the same validation images."""

    settings: Mapping[str, tuple[Any, Any]]  # that differ
    accuracy: tuple[float, float]
    classes: list[dict[str, Any]]  # {"class", "images", "a", "b", "gain"}: recall of each, largest gain of B first
    only_a: list[dict[str, Any]]  # {"image", "class", "a", "b"}: right only in A; image: its index in the val split
    only_b: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "settings": {name: list(pair) for name, pair in self.settings.items()},
            "accuracy": list(self.accuracy),
            "classes": self.classes,
            "only_a": self.only_a,
            "only_b": self.only_b,
        }


def compare_trials(a: Path, b: Path) -> TrialComparison:
    """Compare the folders of two trials at their best epochs.

    Raises:
        UserError: A folder is not a trial's, it has no predictions yet, or the validation images differ.
    """
    (labels, scores_a, classes), (other, scores_b, _) = _predictions(a), _predictions(b)
    if not np.array_equal(labels, other) or _images(a) != _images(b):
        remedy = "compare trials with the same data, val and split_seed"
        raise UserError("were scored on different validation images", where=f"{a} and {b}", remedy=remedy)
    picked = predicted_classes(scores_a, labels), predicted_classes(scores_b, labels)  # (N,) each
    right = [choice == labels for choice in picked]
    flat = [flatten(_settings(path)) for path in (a, b)]
    names = [name for name in dict.fromkeys([*flat[0], *flat[1]]) if flat[0].get(name) != flat[1].get(name)]
    rows = []
    for k in np.unique(labels):
        recall = [float(hit[labels == k].mean()) for hit in right]
        rows.append({"class": classes(int(k)), "images": int((labels == k).sum()), "a": recall[0], "b": recall[1]})
    rows = [row | {"gain": row["b"] - row["a"]} for row in rows]

    def images(won: NDArray[np.bool_]) -> list[dict[str, Any]]:
        rows = [(int(i), *(classes(int(choice[i])) for choice in (labels, *picked))) for i in np.flatnonzero(won)]
        return [dict(zip(("image", "class", "a", "b"), row, strict=True)) for row in rows]

    return TrialComparison(
        settings={name: (flat[0].get(name), flat[1].get(name)) for name in names},
        accuracy=(float(right[0].mean()), float(right[1].mean())),
        classes=sorted(rows, key=lambda row: -row["gain"]),
        only_a=images(right[0] & ~right[1]),
        only_b=images(right[1] & ~right[0]),
    )


def _settings(path: Path) -> dict[str, Any]:
    values = TrialFolder(path).settings()
    if lacking := [part for part in PARTS if part not in values]:
        raise DamagedFile(path / "config.yaml", f"without '{lacking[0]}'")
    return spell_out_recorded(values)


def _images(path: Path) -> dict[str, Any]:
    """The settings that determine a trial's validation images."""
    try:
        return DataConfig.model_validate(_settings(path).get("data")).images()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DamagedFile(path / "config.yaml", f"data.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _predictions(path: Path) -> tuple[NDArray[Any], NDArray[Any], Any]:
    """(labels (N,), scores (N, K), class number to name) of a trial at its best epoch."""
    if not os.path.lexists(path / "config.yaml"):
        raise wrong_folder(path, "is not a trial's folder", "name a folder like results/<name>/trials/7")
    stored = load_arrays(path / "predictions.npz")
    if "labels" not in stored or "scores" not in stored:
        remedy = "wait for its end, or run it again with `hwcls train`"
        raise UserError("has no predictions", where=str(path), remedy=remedy)
    labels, scores = stored["labels"], stored["scores"]
    sweep = next((folder for folder in path.resolve().parents if (folder / "data.json").is_file()), None)
    names = (read_data(SweepFolder(sweep)) or {}).get("classes", []) if sweep else []
    return labels, scores, lambda k: printable(str(names[k])) if len(names) == scores.shape[1] else str(k)
