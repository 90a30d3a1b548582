"""The data of a sweep as lines of text: how it was read, how val and test came to be, and what every model gets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwcls.config.data import title_of
from hwcls.data.cuts.describe import describe_origins
from hwcls.data.input_words import describe_inputs
from hwcls.format import format_count, join_words

Facts = list[tuple[str, str]]  # (name, value)
SPLITS_FILE = "splits.csv"


def collect_data_facts(data: Mapping[str, Any], folder: Path) -> Facts:
    """The facts of data.json; what is not recorded, as by earlier versions, is left out.

    Args:
        folder: Of the sweep; splits.csv is named where it has one.
    """
    if not data:
        return []
    return [*_counts(data), *_reading(data), *_origins(data, folder), *_images(data)]


def _entries(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Data sets, and versions of one, as where `per_class` is searched."""
    others = data.get("others")
    return [data, *(one for one in others if isinstance(one, Mapping))] if isinstance(others, list) else [data]


def _counts(data: Mapping[str, Any]) -> Facts:
    """The splits of the entries, each once, and in the same order their images per class where these differ."""
    counts: dict[str, dict[str, None]] = {}
    for one in _entries(data):
        counts.setdefault(_describe_splits(one), {})[_describe_classes(one) or "not recorded"] = None
    found = [("Data", "; ".join(counts))]
    shown = [" or ".join(per_class) for per_class in counts.values()]
    distinct = list(dict.fromkeys(shown))
    if distinct == ["not recorded"]:
        return found
    return [*found, ("Training images per class", "; ".join(shown if len(distinct) > 1 else distinct))]


def _describe_splits(data: Mapping[str, Any]) -> str:
    path = data.get("path")  # of a user's own images, which all have one name
    parts = [title_of(path) if isinstance(path, str) else str(data.get("name", "?"))]
    parts += [f"{data[split]:,} {split}" for split in ("train", "val", "test") if isinstance(data.get(split), int)]
    classes = data.get("classes")
    if isinstance(classes, list):
        parts.append(format_count(len(classes), "class"))
    return ", ".join(parts)


def _describe_classes(data: Mapping[str, Any]) -> str:
    """The training images of the smallest and the largest class; nothing where they are not recorded."""
    per_class = data.get("per_class")
    if not (isinstance(per_class, list) and len(per_class) == 2):
        return ""
    low, high = per_class
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _reading(data: Mapping[str, Any]) -> Facts:
    """How classes, splits and groups were read from a user's own files."""
    found = data.get("found")
    return [("How the files were read", "; ".join(map(str, found)))] if isinstance(found, list) and found else []


def _origins(data: Mapping[str, Any], folder: Path) -> Facts:
    """How test and val came to be; an earlier version has recorded less, and its one sentence is that of the images."""
    if not (parts := describe_origins(data)):
        return []
    named = f". The split of each image is in {SPLITS_FILE} of the results folder"  # no link: pages are served alone
    return [("Test and val", "; ".join(parts) + (named if (folder / SPLITS_FILE).is_file() else ""))]


def _images(data: Mapping[str, Any]) -> Facts:
    """The images as every model gets them, and why in this size; of earlier versions also where val is from."""
    if not data.get("image_size"):
        return []
    entries = _entries(data) if "models" in data else [data]
    inputs = dict.fromkeys(map(describe_inputs, entries))
    parts = list(inputs if len(inputs) == 1 else dict.fromkeys(map(_prepared, entries)))
    if "test_from" in data:
        parts += dict.fromkeys(str(one["image_size_reason"]) for one in entries if one.get("image_size_reason"))
    elif data.get("val_from") in ("train", "val"):
        parts.append("val is split off train" if data["val_from"] == "train" else "val as the data set has it")
    return [("Images", "; ".join(parts))]


def _prepared(data: Mapping[str, Any]) -> str:
    """How the images of an entry of data.json become inputs, and for which models."""
    models = data.get("models")
    whose = f"for {join_words(list(map(str, models)))}: " if isinstance(models, list) and models else ""
    return f"{whose}{describe_inputs(data)}"
