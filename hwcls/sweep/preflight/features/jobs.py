"""The features of frozen backbones that the trials of a sweep will use: a job for each backbone and its images."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwcls.config.data import AugmentConfig, DataConfig
from hwcls.config.model import ModelFamily
from hwcls.config.sweep_file import Sweep
from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import ImageSet
from hwcls.format import format_count
from hwcls.results.confirm.cuts import list_cuts
from hwcls.sweep.preflight.features.combinations import needing_trials
from hwcls.training.features.probe_recipe import feature_trial

OpenData = Callable[[DataConfig], ImageSet]
MeasureWidth = Callable[[TrialConfig, ImageSet], int]


@dataclass(frozen=True)
class FeatureJob:
    """The features of one backbone for the images of one data set.

    Attributes:
        folder: Where they are kept.
        trials: That together need all of them.
        images: That are computed in all: each view of a training image counts.
        pending: Those that are not there yet.
        views: The most of a training image.
        width: Features of an image.
    """

    folder: Path
    trials: tuple[TrialConfig, ...]
    images: int
    pending: int
    views: int
    width: int

    @property
    def backbone(self) -> str:
        """What computes them."""
        return str(getattr(self.trials[0].model, "backbone", self.trials[0].model.name))

    @property
    def bytes(self) -> int:
        """What all of them take on the disk."""
        return self.images * _row_bytes(self.width)

    @property
    def pending_bytes(self) -> int:
        """What those that are not there yet will take."""
        return self.pending * _row_bytes(self.width)

    def facts(self) -> dict[str, Any]:
        """For the page, as JSON-ready values."""
        trial = self.trials[0]
        weights = trial.model.find_pretrained().label
        found = {"backbone": self.backbone, "weights": weights, "image_size": trial.data.image_size}
        return {**found, "images": self.images, "views": self.views}

    def __str__(self) -> str:
        views = f" ({self.views} views of each training image)" if self.views > 1 else ""
        side = self.trials[0].data.image_size
        at = f" at {side} px" if side else ""
        return f"features of {format_count(self.images, 'image')}{views} by {self.backbone}{at}"


def list_jobs(sweep: Sweep, open_data: OpenData, width: MeasureWidth) -> tuple[FeatureJob, ...]:
    """What the trials of a sweep will use, as far as that can be known before; empty where they cache no features."""
    if all(feature_trial(trial).cached_views(AugmentConfig()) is None for trial in sweep.corners):
        return ()
    from hwcls.training.features.cache import open_features  # loads torch
    from hwcls.training.features.rows import list_rows

    def key(drawn: TrialConfig) -> Hashable:
        trial = feature_trial(drawn)
        if trial.cached_views(AugmentConfig()) is None:  # known without the data
            return None
        return tuple(file.path for file, _ in list_rows([trial], open_data))

    by_folder: dict[Path, list[TrialConfig]] = {}
    needing = needing_trials(sweep, key)
    files = {key(trial) for trial in needing}
    # the corners have other images of the same data sets: more or fewer of them, other splits
    drawn = [*needing, *(corner for corner in sweep.corners if needing and key(corner) in files)]
    cuts = list_cuts(sweep.config.confirm)  # confirm runs train on images that are val in the search
    distinct = {(key(trial), trial.data.pixels()): trial for trial in drawn if cuts}.values()
    drawn += [trial.model_copy(update={"data": cut.apply(trial.data)}) for cut in cuts for trial in distinct]
    for trial in map(feature_trial, drawn):
        by_folder.setdefault(open_features(trial, open_data(trial.data)).folder, []).append(trial)
    return tuple(_job(folder, trials, open_data, width) for folder, trials in by_folder.items())


def feature_width(model: ModelFamily, *, classes: int, channels: int, image_size: int) -> int:
    """The features of an image, by a forward pass of the backbone without its weights."""
    import torch

    from hwcls import models

    skeleton = models.build_skeleton(model, classes=classes, channels=channels, image_size=image_size).eval()
    with torch.no_grad():
        features = model.split(skeleton)[0](torch.zeros(2, channels, image_size, image_size))  # (2, F)
    return int(features.shape[1])


def _job(folder: Path, trials: Sequence[TrialConfig], open_data: OpenData, width: MeasureWidth) -> FeatureJob:
    """The job of a folder; of its trials those that need images which the ones before do not need."""
    from hwcls.training.features.rows import list_rows

    needed: list[TrialConfig] = []
    images = 0
    for trial in trials:
        count = sum(len(rows) for _, rows in list_rows([*needed, trial], open_data))
        if count > images:
            images, needed = count, [*needed, trial]
    views = max(trial.cached_views(open_data(trial.data).augment) or 1 for trial in needed)
    pending = sum(file.count_pending(rows) for file, rows in list_rows(needed, open_data))
    features = width(needed[0], open_data(needed[0].data))
    return FeatureJob(folder, tuple(needed), images, pending, views, features)


def _row_bytes(width: int) -> int:
    return 2 * width + 4  # float16, and a checksum
