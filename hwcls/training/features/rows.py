"""The rows of features that several trials need together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from hwcls.config.data import DataConfig
from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import ImageSet
from hwcls.training.features.cache import FeatureStore, open_features
from hwcls.training.features.feature_file import FeatureFile
from hwcls.training.features.views import Part, first_alike, needed_parts


def list_rows(
    trials: Iterable[TrialConfig], open_data: Callable[[DataConfig], ImageSet]
) -> list[tuple[FeatureFile, np.ndarray]]:
    """Each file of features that any of the trials needs, with its rows (n,), ascending."""
    return _unite((store.file(part.split, part.view), part.rows) for store, part in _each_part(trials, open_data))


def count_distinct(trials: Iterable[TrialConfig], open_data: Callable[[DataConfig], ImageSet]) -> int:
    """The images that are computed for some trials now: what looks as in an earlier view is copied."""
    distinct = _unite(_without_copies(store, part) for store, part in _each_part(trials, open_data))
    return sum(file.count_pending(rows) for file, rows in distinct)


def _each_part(
    trials: Iterable[TrialConfig], open_data: Callable[[DataConfig], ImageSet]
) -> Iterator[tuple[FeatureStore, Part]]:
    for trial in trials:
        images = open_data(trial.data)
        store = open_features(trial, images)
        for part in needed_parts(trial, images):
            yield store, part


def _without_copies(store: FeatureStore, part: Part) -> tuple[FeatureFile, np.ndarray]:
    """The file of a part, and its rows that look in no earlier view as in this one."""
    file = store.file(part.split, part.view)
    first = first_alike(store.augment, file.count, store.data.image_size, part.view)
    return file, part.rows[first[part.rows] == part.view]


def _unite(found: Iterable[tuple[FeatureFile, np.ndarray]]) -> list[tuple[FeatureFile, np.ndarray]]:
    """The rows of each file together, ascending."""
    by_path: dict[Path, tuple[FeatureFile, np.ndarray]] = {}
    for file, rows in found:
        before = by_path[file.path][1] if file.path in by_path else rows
        by_path[file.path] = file, np.union1d(before, rows)
    return list(by_path.values())
