"""What is trained: models, and random images of the shapes of real data sets."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from hwcls.config.data import AugmentConfig
from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import ImageSet, Split

Shape = tuple[int, int, int, int]  # side, channels, classes, images
TINY, FASHION, CIFAR = (64, 3, 200, 100_000), (28, 1, 10, 60_000), (32, 3, 10, 50_000)
FEW = (*TINY[:3], 20_000)  # for models that would take minutes for an epoch
MODELS: dict[str, tuple[Shape, dict[str, Any]]] = {
    "resnet18": (TINY, {"name": "timm", "backbone": "resnet18"}),
    "resnet18-small": (TINY, {"name": "timm", "backbone": "resnet18", "stem": "small"}),  # 3x3
    "simple_cnn": (FASHION, {"name": "simple_cnn"}),
    "efficientnet_b0": (FEW, {"name": "timm", "backbone": "efficientnet_b0"}),
    "efficientnet_b5": (FEW, {"name": "timm", "backbone": "efficientnet_b5"}),
    "cifar-resnet18": (CIFAR, {"name": "timm", "backbone": "resnet18", "stem": "small"}),
}


@dataclass(frozen=True)
class Setting:
    """What all measurements of a run have in common: rows of different settings do not belong into one table."""

    device: torch.device
    batch: int = 256
    images: int | None = None  # of each data set; None: as many as the real one has
    seconds: float = 5.0  # of each measurement
    loaders: int = field(default_factory=lambda: min(16, os.cpu_count() or 1))  # processes of a DataLoader

    @property
    def cuda(self) -> bool:
        """Whether this is a GPU."""
        return self.device.type == "cuda"


def random_images(shape: Shape, images: int | None, *, patterned: bool = False) -> ImageSet:
    """A data set of random pixels: nine tenths train, the rest val (and test).

    `patterned`: half of each pixel is its class's, so that a model learns the classes.
    """
    side, channels, classes, count = shape
    count = images or count
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (count, side, side, channels), np.uint8)  # (N, S, S, C)
    labels, cut = draw.integers(0, classes, count), count * 9 // 10
    if patterned:
        patterns = draw.integers(0, 128, (classes, side, side, channels), np.uint8)  # (K, S, S, C)
        pixels = pixels // 2 + patterns[labels]
    return image_set(shape, pixels, labels, cut)


# one at a time: what is measured after it has its pixels on the GPU already, as the trials of a sweep have
shared_images = lru_cache(1)(random_images)


def image_set(shape: Shape, pixels: np.ndarray, labels: np.ndarray, cut: int) -> ImageSet:
    """The first `cut` of the images (N, S, S, C) with labels (N,) are train, the rest val and test."""
    side, channels, classes, _ = shape

    def split(low: int, high: int) -> Split:
        return Split(pixels, labels[low:high], np.arange(low, high))

    names, val = tuple(map(str, range(classes))), split(cut, len(labels))
    moments = (0.5,) * channels, (0.29,) * channels
    return ImageSet("random", names, side, channels, *moments, split(0, cut), val, val, AugmentConfig())


def trial_config(model: dict[str, Any], batch: int, **changes: Any) -> TrialConfig:
    """A trial of a model with SGD and the usual augmentation; `changes` are keys of a TrialConfig."""
    return TrialConfig.from_dict(
        {
            "data": {"name": "random", "batch_size": batch, "augment": {"crop": 4, "hflip": True}},
            "model": model,
            "optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.9},
            "scheduler": {"name": "constant"},
            "epochs": 1000,
            **changes,
        }
    )
