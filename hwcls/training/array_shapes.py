"""What the .npz files of a trial hold: the kind and the dimensions of each array."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
# the last part of an array's name: the kinds of its dtype and its number of dimensions
PREDICTIONS = {"labels": ("iu", 1), "scores": ("f", 2), "index": ("iu", 1), "rows": ("iu", 1), "epoch": ("iu", 0)}
CONFUSION = {"row": ("iu", 1), "col": ("iu", 1), "count": ("iu", 1), "classes": ("iu", 0)}
OUT_OF_FOLD = {
    **dict.fromkeys(("rows", "labels", "rounds", "wrong"), ("iu", 1)),
    "scores": ("f", 2),
    "trial": ("iu", 0),
}
SPLITS = {"train": ("iu", 1), "val": ("iu", 1), "test": ("iu", 1)}
INSPECTION = {
    "layers": ("U", 1),
    "epochs": ("iu", 1),
    "gradient_mean": ("f", 2),
    "gradient_max": ("f", 2),
    "activation_image": ("u", 3),
    "activations": ("f", 3),
    "counts": ("iuf", 2),
    "edges": ("f", 2),
    "input": ("u", 4),
    "output": ("u", 4),
}
SHAPES = {
    "predictions": PREDICTIONS,
    "test_predictions": PREDICTIONS,
    "out_of_fold": OUT_OF_FOLD,
    "confusion": CONFUSION,
    "splits": SPLITS,
    "inspection": INSPECTION,
}


def check_arrays(kind: str, arrays: Mapping[str, Array]) -> None:
    """Raise ValueError where an array of a file of this kind (of SHAPES) cannot be what hwcls wrote."""
    for name, array in arrays.items():
        kinds, dimensions = SHAPES.get(kind, {}).get(name.rpartition("/")[2], (array.dtype.kind, array.ndim))
        if array.dtype.kind not in kinds or array.ndim != dimensions:
            raise ValueError(f"{name} is {array.dtype} of shape {array.shape}")
    if kind in ("predictions", "test_predictions"):
        _check_predictions(arrays)
    elif kind == "confusion":
        _check_confusion(arrays)
    elif kind == "inspection":
        _check_inspection(arrays)


def _check_predictions(arrays: Mapping[str, Array]) -> None:
    labels, scores = arrays["labels"], arrays["scores"]  # (N,), (N, K)
    if len(labels) != len(scores):
        raise ValueError(f"{len(labels)} labels, {len(scores)} scores")
    if len(labels) and not 0 <= labels.min() <= labels.max() < scores.shape[1]:
        raise ValueError(f"labels beyond its {scores.shape[1]} classes")


def _check_confusion(arrays: Mapping[str, Array]) -> None:
    places = np.stack([arrays["row"], arrays["col"]])  # (2, entries)
    if places.shape[1] != len(arrays["count"]):
        raise ValueError(f"{places.shape[1]} entries, {len(arrays['count'])} counts")
    if places.size and not 0 <= places.min() <= places.max() < arrays["classes"]:
        raise ValueError(f"entries beyond its {arrays['classes']} classes")


def _check_inspection(arrays: Mapping[str, Array]) -> None:
    if "layers" in arrays:
        shape = len(arrays["epochs"]), len(arrays["layers"])
        if not shape[0] or arrays["gradient_mean"].shape != shape or arrays["gradient_max"].shape != shape:
            raise ValueError("gradients that do not fit its epochs and layers")
    for name in arrays:
        if name.endswith("/counts") and f"{name.removesuffix('counts')}edges" in arrays:
            edges, counts = arrays[f"{name.removesuffix('counts')}edges"], arrays[name]
            if (len(edges), edges.shape[1]) != (len(counts), counts.shape[1] + 1):
                raise ValueError(f"{name} that do not fit its edges")
