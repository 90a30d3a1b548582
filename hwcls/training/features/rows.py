"""The rows of features that several trials need together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from hwcls.config.data import DataConfig
from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import ImageSet
from hwcls.training.features.cache import open_features
from hwcls.training.features.feature_file import FeatureFile
from hwcls.training.features.views import first_alike, needed_parts


def list_rows(
    trials: Iterable[TrialConfig], open_data: Callable[[DataConfig], ImageSet]
) -> list[tuple[FeatureFile, np.ndarray]]:
    """Each file of features that any of the trials needs, with its rows (n,), ascending."""
    found: dict[Path, tuple[FeatureFile, np.ndarray]] = {}
    for trial in trials:
        images = open_data(trial.data)
        store = open_features(trial, images)
        for part in needed_parts(trial, images):
            file = store.file(part.split, part.view)
            before = found[file.path][1] if file.path in found else part.rows
            found[file.path] = file, np.union1d(before, part.rows)
    return list(found.values())


def count_distinct(trials: Iterable[TrialConfig], open_data: Callable[[DataConfig], ImageSet]) -> int:
    """The images that are computed for some trials now: what looks as in an earlier view is copied."""
    distinct: dict[Path, tuple[FeatureFile, np.ndarray]] = {}
    for trial in trials:
        images = open_data(trial.data)
        store = open_features(trial, images)
        for part in needed_parts(trial, images):
            file, rows = store.file(part.split, part.view), part.rows
            if part.view:
                rows = rows[first_alike(store.augment, file.count, images.image_size, part.view)[rows] == part.view]
            before = distinct[file.path][1] if file.path in distinct else rows
            distinct[file.path] = file, np.union1d(before, rows)
    return sum(file.count_pending(rows) for file, rows in distinct.values())
