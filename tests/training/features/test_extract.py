"""Cached features are those of the model itself, whatever its backbone; they are computed once, by any processes."""

from __future__ import annotations

import errno
import functools
import multiprocessing
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hwcls import models
from hwcls.config.data import AugmentConfig
from hwcls.config.trial import TrialConfig
from hwcls.data.augment.apply import Normalise, augment_batch
from hwcls.data.augment.parameters import AugmentPlan, plan_epoch
from hwcls.data.cache import leases, limit
from hwcls.data.catalog import cache_folder
from hwcls.data.imageset import ImageSet
from hwcls.errors import UserError
from hwcls.training.features import extract
from hwcls.training.features.cache import open_features
from hwcls.training.features.extract import compute_features
from hwcls.training.features.feature_file import BLOCK, FeatureFile
from hwcls.training.features.views import first_alike, pixel_augment

SIDE = 32
FORK = multiprocessing.get_context("fork")
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


AUGMENT = {"hflip": True, "crop": 2, "brightness": 0.3}


class FakeExtractor:
    """In place of a backbone: features are the first pixel's colour, and whether the image is mirrored.

    The file `log` has as many bytes as images were computed.
    """

    width, batch, side, log = 3, 16, SIDE, Path()

    def __init__(self, config: TrialConfig, data: ImageSet, device: torch.device) -> None:
        self.augment = pixel_augment(config, data)

    def __call__(self, pixels: torch.Tensor, plan: AugmentPlan | None) -> np.ndarray:
        time.sleep(0.01)
        with open(self.log, "ab") as file:
            file.write(b"x" * len(pixels))
        found = pixels[:, 0, 0].float()
        if plan is not None and plan.hflip is not None:
            found += plan.hflip[:, None] / 4
        return found.numpy().astype(np.float16)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[FakeExtractor]:
    monkeypatch.setattr(extract, "_Extractor", FakeExtractor)
    monkeypatch.setattr(FakeExtractor, "log", tmp_path / "log")
    FakeExtractor.log.touch()
    return FakeExtractor


def computed() -> int:
    """How many images have been computed since the last call."""
    size = FakeExtractor.log.stat().st_size
    FakeExtractor.log.write_bytes(b"")
    return size


def test_views_are_augmented_by_fixed_draws(trial: Make) -> None:
    config, data = trial(data={"augment": AUGMENT}, views=3)
    assert compute_features(config, data, CPU)
    store, rows = open_features(config, data), data.train.rows
    for view in range(3):
        found, expected = store.read("train", view)[rows], live_features(config, data, "train", view)
        assert np.abs(found - expected).max() <= 2**-11 * np.abs(expected).max() + 1e-5
    assert np.abs(store.read("train", 1)[rows] - store.read("train", 0)[rows]).max() > 0.01


def test_an_image_that_looks_as_in_an_earlier_view_is_not_computed_again(
    trial: Make, fake: type[FakeExtractor]
) -> None:
    augment = AugmentConfig(hflip=True)
    config, data = trial(data={"augment": augment}, views=4)
    assert compute_features(config, data, CPU)
    rows = data.train.rows
    mirrored = np.stack([plan_epoch(augment, 120, SIDE, 0, view).hflip.numpy() for view in (1, 2, 3)])[:, rows]
    assert computed() == 150 + mirrored.any(axis=0).sum()
    store = open_features(config, data)
    plain, found = (np.stack([store.read("train", view)[rows] for view in views]) for views in ([0, 0, 0], [1, 2, 3]))
    assert (found == plain).all(axis=2)[~mirrored].all()
    assert (found == plain + 0.25).all(axis=2)[mirrored].all()


@pytest.mark.parametrize("augment", [{"hflip": True, "crop": 1}, {"hflip": True, "rotate": 5}, {"erase": 0.1}])
def test_what_looks_alike_is_known_of_moves_by_whole_pixels_alone(augment: dict[str, Any]) -> None:
    first = first_alike(AugmentConfig(**augment), 900, SIDE, 1)
    assert (first == 0).mean() == pytest.approx(1 / 18 if "crop" in augment else 0, abs=0.03)


def test_only_what_is_missing_is_computed(trial: Make, fake: type[FakeExtractor]) -> None:
    """Subsets, other splits and settings of the head share what is there; other augmentation shares the plain view."""
    make = functools.partial(trial, data={"per_class": 20, "augment": AUGMENT})
    config, data = make(views=2)
    assert compute_features(config, data, CPU)
    assert computed() == 60 + 30 + 54  # train and val, test, the second view of train
    for keys in ({"views": 2}, {"views": 1}, {"views": 2, "head": {"depth": 2}}):
        assert compute_features(*make(**keys), CPU)
        assert computed() == 0
    assert compute_features(*trial(data={"per_class": 20, "augment": {"contrast": 0.2, "mixup": 0.2}}, views=2), CPU)
    assert computed() == 54
    whole, every = trial(data={"augment": AUGMENT}, views=2)
    store = open_features(whole, every)
    left = [len(store.missing(*part)) for part in (("train", 0), ("val", 0), ("train", 1))]
    assert (left[0] + left[1], 54 < left[2] < 108) == (60, True)
    assert compute_features(whole, every, CPU)
    assert computed() == sum(left)


@pytest.mark.parametrize("other", [{"std": (0.5, 0.5, 0.5)}, {"image_size": 48}, {"interpolation": "bicubic"}])
def test_other_inputs_have_other_features(trial: Make, fake: type[FakeExtractor], other: dict[str, Any]) -> None:
    assert compute_features(*trial(), CPU)
    computed()
    assert compute_features(*trial(data=other), CPU)
    assert computed() == 150


def test_other_weights_have_other_features(trial: Make, weights: Callable[[str], Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    copy, changed = tmp_path / "copy.safetensors", tmp_path / "changed.safetensors"
    state = load_file(weights("test_efficientnet"))
    shutil.copy(weights("test_efficientnet"), copy)
    save_file({name: value + 0.01 for name, value in state.items()}, changed)
    files = (weights("test_efficientnet"), copy, changed)
    folders = [open_features(*trial(pretrained=str(path))).folder for path in files]
    assert folders[0] == folders[1] != folders[2]


def test_a_trial_without_cached_features_has_none_computed(trial: Make, fake: type[FakeExtractor]) -> None:
    for keys in ({"features": "live"}, {"frozen": False}):
        assert compute_features(*trial(**keys), CPU)
    assert computed() == 0


def test_damaged_features_are_computed_again(trial: Make, fake: type[FakeExtractor]) -> None:
    config, data = trial()
    assert compute_features(config, data, CPU)
    before = open_features(config, data).read("test").tolist()
    path = open_features(config, data).file("test").path
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    damaged[-8] ^= 128
    path.write_bytes(damaged)
    computed()
    FeatureFile._intact.clear()
    with pytest.raises(UserError, match="the features of 2 images of test are missing"):
        open_features(config, data).read("test")
    assert compute_features(config, data, CPU)
    assert computed() == 2
    assert open_features(config, data).read("test").tolist() == before


def test_several_processes_compute_each_image_once(trial: Make, fake: type[FakeExtractor]) -> None:
    """Also while one of them is killed: what it has finished is not computed again."""
    config, data = trial(data={"augment": AUGMENT}, views=3)
    start = [FORK.Process(target=compute_features, args=(config, data, CPU)) for _ in range(3)]
    for process in start:
        process.start()
    time.sleep(0.05)
    start[0].kill()
    for process in start:
        process.join(60)
    assert [process.exitcode for process in start[1:]] == [0, 0]
    assert 150 + 2 * 108 <= computed() <= 150 + 2 * 108 + BLOCK
    FeatureFile._intact.clear()
    store = open_features(config, data)
    assert [len(store.missing("train", view)) for view in range(3)] == [0, 0, 0]
    assert store.read("train")[data.train.rows].tolist() == data.train.images[data.train.rows, 0, 0].tolist()


def test_it_stops_when_asked_and_resumes(trial: Make, fake: type[FakeExtractor]) -> None:
    config, data = trial()
    asked: list[int] = []
    assert not compute_features(config, data, CPU, stop=lambda: bool(asked.append(0)) or len(asked) == 2)
    done = computed()
    assert 0 < done < 150
    assert compute_features(config, data, CPU)
    assert computed() == 150 - done


def test_progress_has_the_rate_and_the_time_left(
    trial: Make, fake: type[FakeExtractor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwcls.data.progress.REPORT_EVERY", 0)
    monkeypatch.setattr(extract, "UPDATE_EVERY", 0)
    lines: list[str] = []
    compute_features(*trial(), CPU, lines.append)
    assert re.fullmatch(r"photos\d: features: \d\d % of 150 images \([\d,]+ images/s, .+ left\)", lines[0])


def test_features_beyond_float16_are_an_error() -> None:
    with pytest.raises(UserError, match=r"^model.features: .*beyond float16's 65,504 — set it to live") as error:
        extract._to_float16(np.array([[1.0, 65600.0], [1.0, 2.0], [np.nan, 1.0]], np.float32))
    assert "the features of 2 of 3 images" in str(error.value)


def test_what_float16_arithmetic_cannot_hold_is_computed_in_float32(
    trial: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU, of images that the arithmetic was not tried on."""
    config, data = trial()
    extractor, forward = extract._Extractor(config, data, CPU), extract._Extractor._forward

    def run(self: Any, images: torch.Tensor) -> torch.Tensor:
        return torch.full((len(images), self.width), torch.inf) if self.half else forward(self, images)

    monkeypatch.setattr(extract._Extractor, "_forward", run)
    extractor.half = True
    found = extractor(torch.from_numpy(data.test.images[data.test.rows]), None)
    assert np.abs(found - live_features(config, data, "test")).max() < 0.01


def test_less_memory_means_smaller_batches(trial: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    config, data = trial()
    forward, sizes = extract._Extractor._forward, []

    def run(self: Any, images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        if len(images) > 10:
            raise RuntimeError("CUDA error: out of memory")
        return forward(self, images)

    monkeypatch.setattr(extract._Extractor, "_forward", run)
    assert compute_features(config, data, CPU)
    assert sizes[:4] == [32, 16, 8, 8]
    sizes.clear()
    assert extract.time_extraction(config, data, CPU, 0.0) > 0
    assert sizes == [32, 16, *[8] * 8]  # the steps that are timed are whole
    expected = live_features(config, data, "test")
    assert np.abs(open_features(config, data).read("test") - expected).max() <= 2**-11 * np.abs(expected).max() + 1e-5


def test_a_cache_that_cannot_be_written_serves_what_it_has(
    trial: Make, fake: type[FakeExtractor], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, data = trial()
    compute_features(config, data, CPU)
    other = trial(data={"std": (0.5, 0.5, 0.5)})

    def fail(*_: object, **__: object) -> None:
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for name in ("mkdir", "open", "truncate", "replace"):
        monkeypatch.setattr(os, name, fail)
    FeatureFile._intact.clear()
    assert compute_features(config, data, CPU)
    with pytest.raises(UserError, match=r"features.* set HWCLS_CACHE to a folder that you may write"):
        compute_features(*other, CPU)


def test_what_disk_and_limit_do_not_hold_is_one_line(
    trial: Make, fake: type[FakeExtractor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeExtractor, "width", 1000)
    with monkeypatch.context() as patch:
        patch.setenv("HWCLS_CACHE_LIMIT", "299KB")
        with pytest.raises(UserError, match=r"take 300 KB, more than .* 299 KB — raise it, or set model.views lower"):
            compute_features(*trial(), CPU)
    with monkeypatch.context() as patch:
        patch.setattr("hwcls.data.disk.free_bytes", lambda folder: 299_999)
        with pytest.raises(UserError, match=r"disk is full: the features take 300,000 bytes — .*HWCLS_CACHE.*views"):
            compute_features(*trial(), CPU)
    with monkeypatch.context() as patch:

        def fail(path: Path, rows: np.ndarray, data: np.ndarray) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr("hwcls.training.features.feature_file._write_rows", fail)
        with pytest.raises(UserError, match="the disk is full: the features take 300,000 bytes"):
            compute_features(*trial(), CPU)


def test_features_in_use_stay_when_the_cache_makes_room(trial: Make, fake: type[FakeExtractor]) -> None:
    config, data = trial()
    compute_features(config, data, CPU)
    store = open_features(config, data)
    _, kept = limit.remove_entries()
    assert store.folder in [entry.path for entry in kept]
    assert str(next(entry for entry in kept if entry.path == store.folder)).startswith("imagefolder (features) (")
    for file in leases._held.values():
        os.close(file)
    leases._held.clear()
    assert store.folder in [entry.path for entry in limit.remove_entries()[0]]
    assert not store.folder.exists()
    computed()
    assert compute_features(config, data, CPU)
    assert computed() == 150


def test_a_trial_without_cached_features_needs_none(trial: Make) -> None:
    """Whatever its family, and whether or not its weights can be found."""
    config, data = trial()
    for model in ({"name": "mlp"}, {"name": "timm", "backbone": "test_resnet", "pretrained": "missing.pth"}):
        other = TrialConfig.from_dict({**config.to_dict(), "model": model})
        assert compute_features(other, data, CPU)
    assert not (cache_folder() / "features").exists()
