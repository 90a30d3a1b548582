"""Cached features are those of the model itself, whatever its backbone; they are computed once, by any processes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from hwcls import models
from hwcls.config.trial import TrialConfig
from hwcls.data.augment.apply import Normalise, augment_batch
from hwcls.data.augment.parameters import plan_epoch
from hwcls.data.imageset import ImageSet
from hwcls.training.features.cache import open_features
from hwcls.training.features.extract import compute_features

Make = Callable[..., tuple[TrialConfig, ImageSet]]
CPU = torch.device("cpu")


def live_features(config: TrialConfig, data: ImageSet, split: str, view: int = 0) -> np.ndarray:
    """(n, F) float32: the backbone of the model that a trial without a cache builds, on all images of a split."""
    part = getattr(data, split)
    model = models.build(config.model, classes=3, channels=data.channels, image_size=data.image_size).eval()
    normalise = Normalise(data.mean, data.std, data.image_size, CPU, torch.float32)
    pixels = torch.from_numpy(part.images[part.rows])
    if view:
        plan = plan_epoch(config.data.augment, len(part.images), data.image_size, 0, view).at(
            torch.from_numpy(part.rows)
        )
        images = augment_batch(pixels, plan.to(CPU, torch.float32), config.data.augment, normalise)
    else:
        images = normalise(pixels)
    with torch.no_grad():
        found: np.ndarray = model.backbone(images.permute(0, 3, 1, 2)).numpy()
    return found


@pytest.mark.parametrize(
    ("backbone", "channels"),
    [("test_efficientnet", 3), ("test_efficientnet", 1), ("test_resnet", 3), ("test_vit", 3), ("test_nfnet", 3)],
)
def test_features_are_those_of_the_live_model(trial: Make, backbone: str, channels: int) -> None:
    config, data = trial(backbone, data={"channels": channels})
    assert compute_features(config, data, CPU)
    store = open_features(config, data)
    for split in ("train", "val", "test"):
        found, expected = store.read(split)[getattr(data, split).rows], live_features(config, data, split)
        assert found.dtype == np.float16
        assert np.abs(found - expected).max() <= 2**-11 * np.abs(expected).max() + 1e-5
        assert np.abs(expected).max() > 0.01
