"""Images that are enlarged when they are read are those of a store of the large size, bit for bit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hwcls.config.data import DataConfig
from hwcls.data.enlarged import EnlargedImages
from hwcls.data.imageset import is_prepared, open_data
from hwcls.data.loader import Feed

GIVEN = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


@pytest.fixture
def tiny(make: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWCLS_DATA", str(tmp_path))
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    make.write_zip(tmp_path / "tiny-imagenet-200.zip", make.tiny_files())


def config(**keys: Any) -> DataConfig:
    return DataConfig.model_validate({"name": "tinyimagenet", "batch_size": 4, "val": 0.2, **keys})


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    "keys",
    [
        {"image_size": 80},
        {"image_size": 96, "interpolation": "bicubic", "crop_pct": 0.875},
        {"image_size": 72, "channels": 1, "resize": "pad"},
    ],
)
def test_they_are_those_of_a_large_store(keys: dict[str, Any], tmp_path: Path) -> None:
    large, read = open_data(config(**keys)), open_data(config(**keys, **GIVEN))
    assert isinstance(read.train.images, EnlargedImages)
    assert isinstance(large.train.images, np.ndarray)
    assert (read.image_size, read.train.images.shape) == (large.image_size, large.train.images.shape)
    for split in ("train", "val", "test"):
        one, other = getattr(read, split), getattr(large, split)
        assert one.rows.tolist() == other.rows.tolist()
        assert np.array_equal(one.images[one.rows], other.images[other.rows])
        assert np.array_equal(one.images[int(one.rows[0])], other.images[other.rows[0]])
        assert np.array_equal(one.images[1:3], other.images[1:3])


@pytest.mark.usefixtures("tiny")
def test_no_large_store_is_built(tmp_path: Path) -> None:
    given = config(image_size=160, **GIVEN)
    assert not is_prepared(given)
    read = open_data(given)
    assert is_prepared(given)
    assert open_data(config()).store in read.store.split()
    assert [path.name for path in (tmp_path / "cache" / "stores").glob("[!.]*")] == [open_data(config()).store]
    others = [{"image_size": 128}, {"image_size": 160, "interpolation": "bicubic"}, {"image_size": 64}]
    assert len({read.store, *(open_data(config(**other, **GIVEN)).store for other in others)}) == 4


@pytest.mark.usefixtures("tiny")
def test_batches_are_those_of_a_large_store() -> None:
    keys: dict[str, Any] = {"image_size": 80, "augment": {"hflip": True, "crop": 3, "mixup": 0.2}}
    batches = []
    for store in ({}, GIVEN):
        data = open_data(config(**keys, **store))
        feed = Feed(data, config(**keys, **GIVEN), seed=1, device=torch.device("cpu"))
        feed._normalise.scale.fill_(1)  # both alike, whatever mean and std the data has
        feed._normalise.shift.fill_(0)
        steps = [part.images for step in feed.train(1) for part in step.parts]
        batches.append(torch.cat([*steps, *(batch.images for batch in feed.evaluate("test"))]))
    assert torch.equal(*batches)


@pytest.mark.usefixtures("tiny")
def test_batches_that_are_read_in_advance_are_enlarged_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a GPU that has no room for the enlarged pixels."""
    keys: dict[str, Any] = {"image_size": 80, "augment": {"hflip": True, "mixup": 0.2}}
    batches = []
    for on_host in (("cpu",), ()):
        monkeypatch.setattr("hwcls.data.transfer.pixels.ON_HOST", on_host)
        data = open_data(config(**keys, **GIVEN))
        feed = Feed(data, config(**keys, **GIVEN), seed=1, device=torch.device("cpu"))
        assert feed.resident == bool(on_host)
        steps = [part.images for step in feed.train(1) for part in step.parts]
        batches.append(torch.cat([*steps, *(batch.images for batch in feed.evaluate("test"))]))
    assert torch.equal(*batches)
