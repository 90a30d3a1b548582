"""The autoencoder behind AlexNet's encoder: its images, how often it is trained, its weights."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hwcls import models
from hwcls.config.data import AugmentConfig
from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import ImageSet, Split
from hwcls.errors import UserError
from hwcls.models.unet import UNetAutoencoder
from hwcls.training import checkpoint, pretrain
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World

torch.set_num_threads(1)
CPU = torch.device("cpu")


def config(seed: int = 0, width: int = 8, **settings: Any) -> TrialConfig:
    return TrialConfig.from_dict(
        {
            "data": {"name": "made"},
            "model": {"name": "alexnet", "width": width, "pretrain": {"epochs": 2, **settings}},
            "optimizer": {"name": "adam"},
            "seed": seed,
        }
    )


@pytest.fixture(scope="module")
def data() -> ImageSet:
    """200 smooth 8x8 images; the first 120 train, the rest are black or white and belong to val and test."""
    coarse = np.random.default_rng(0).integers(0, 256, (200, 2, 2, 1), np.uint8)
    images = coarse.repeat(4, 1).repeat(4, 2)
    images[120:160], images[160:] = 0, 255
    parts = [np.arange(120), np.arange(120, 160), np.arange(160, 200)]
    train, val, test = (Split(images, rows % 2, rows) for rows in parts)
    pixels = images[:120] / 255
    return ImageSet("made", ("a", "b"), 8, 1, (pixels.mean(),), (pixels.std(),), train, val, test, AugmentConfig())


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_weights_fit_the_model_and_are_trained(data: ImageSet, tmp_path: Path) -> None:
    trial = config(epochs=80, width=16)
    model = models.build(trial.model, classes=2, channels=1, image_size=8)
    model.encoder.load_state_dict(pretrain.encoder_weights(trial, data, CPU, tmp_path))
    net = pretrain.autoencoder(trial, data, CPU, tmp_path)
    assert not net.training
    pixels = torch.from_numpy(data.train.images[data.train.rows]).float()
    x = ((pixels / 255 - data.mean[0]) / data.std[0]).permute(0, 3, 1, 2)
    with torch.no_grad():
        assert (net(x) - x).square().mean() < 0.3  # of a variance of 1


def test_once_per_setting(data: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    train = pretrain._train
    monkeypatch.setattr(pretrain, "_train", lambda *args: trained.append(args) or train(*args))
    first = pretrain.encoder_weights(config(), data, CPU, tmp_path)
    assert same(first, pretrain.encoder_weights(config(), data, CPU, tmp_path))
    assert same(first, pretrain.encoder_weights(config(frozen=True), data, CPU, tmp_path)), "frozen or not is later"
    assert len(trained) == 1
    others = [config(seed=1), config(share=0.5), config(epochs=3), config(width=12)]
    for other in others:
        assert not same(first, pretrain.encoder_weights(other, data, CPU, tmp_path))
    fewer = replace(data, train=Split(data.train.images, data.train.labels[:100], data.train.rows[:100]))
    assert not same(first, pretrain.encoder_weights(config(), fewer, CPU, tmp_path))
    assert len(trained) == len(others) + 2
    assert len(list(tmp_path.rglob("*.safetensors"))) == len(trained)


def test_memory_that_runs_out_makes_micro_batches(
    data: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, sizes = UNetAutoencoder.forward, []

    def scarce(self: UNetAutoencoder, x: torch.Tensor) -> torch.Tensor:
        if len(x) > most:
            raise torch.OutOfMemoryError("CUDA out of memory, injected")
        sizes.append(len(x))
        return forward(self, x)

    monkeypatch.setattr(UNetAutoencoder, "forward", scarce)
    most = 40
    ample = pretrain.encoder_weights(config(), data, CPU, tmp_path / "scarce")
    assert sizes == [30] * 4 * 2, "all 120 images of each of two epochs"
    assert all(value.isfinite().all() for value in ample.values())
    most = 0
    with pytest.raises(UserError, match="does not fit into memory with a single image"):
        pretrain.encoder_weights(config(), data, CPU, tmp_path / "none")


def test_the_seed_decides_alone(data: ImageSet, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = pretrain.encoder_weights(config(), data, CPU, tmp_path / "a")
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert same(first, pretrain.encoder_weights(config(), data, CPU, tmp_path / "b"))
    assert torch.equal(before, torch.get_rng_state())


def test_val_and_test_are_not_used(data: ImageSet, tmp_path: Path) -> None:
    images = data.train.images.copy()
    images[120:] = 77
    changed = replace(data, train=replace(data.train, images=images))
    first = pretrain.encoder_weights(config(), data, CPU, tmp_path / "a")
    assert same(first, pretrain.encoder_weights(config(), changed, CPU, tmp_path / "b"))


def test_a_smaller_share_is_part_of_a_larger(data: ImageSet) -> None:
    half, most, whole = (pretrain.pretrain_rows(config(share=share), data) for share in (0.5, 0.9, 1.0))
    assert (len(half), len(most), len(whole)) == (60, 108, 120)
    assert set(half) < set(most) < set(whole) == set(data.train.rows)
    assert set(half) != set(pretrain.pretrain_rows(config(share=0.5, seed=1), data))
    assert len(pretrain.pretrain_rows(config(share=0.001), data)) == 1


def test_only_for_models_with_pretrain(data: ImageSet, tmp_path: Path) -> None:
    bare = TrialConfig.from_dict({**config().to_dict(), "model": {"name": "alexnet"}})
    with pytest.raises(ValueError, match="no encoder"):
        pretrain.encoder_weights(bare, data, CPU, tmp_path)


def test_concurrent_trials_train_it_once(data: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained, both_asked = [], threading.Barrier(2)
    train = pretrain._train
    monkeypatch.setattr(pretrain, "_train", lambda *args: (trained.append(args), time.sleep(0.2), train(*args))[-1])

    def ask(_: int) -> dict[str, torch.Tensor]:
        both_asked.wait()
        return pretrain.encoder_weights(config(), data, CPU, tmp_path)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(ask, range(2))
    assert same(first, second)
    assert len(trained) == 1


def test_an_interrupted_one_is_not_kept(data: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(pretrain, "_train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pretrain.encoder_weights(config(), data, CPU, tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))
    assert pretrain.encoder_weights(config(), data, CPU, tmp_path)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_trial_starts_from_it_and_keeps_pictures(
    data: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frozen: bool
) -> None:
    """A frozen encoder stays as it was pretrained, BatchNorm's statistics too; one that is not is tuned."""
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    data = replace(data, val=Split(data.train.images, data.train.labels[:20], data.train.rows[:20]))
    trial = config(frozen=frozen, epochs=60, width=16).model_copy(update={"epochs": 1})
    trainer = build_trainer(trial, data, World(device=CPU))
    before = pretrain.encoder_weights(trial, data, CPU, tmp_path / "cache")
    assert same(before, trainer.model.encoder.state_dict())
    before = {name: value.clone() for name, value in before.items()}
    list(trainer.epochs())
    assert same(before, trainer.model.encoder.state_dict()) == frozen
    checkpoint.write_outputs(trainer, tmp_path)
    stored = np.load(tmp_path / "inspection.npz")
    seen, made = stored["reconstructions/input"], stored["reconstructions/output"]
    assert seen.shape == made.shape == (8, 8, 8, 1)
    assert seen.dtype == made.dtype == np.uint8
    assert np.array_equal(seen, data.val.images[data.val.rows[:8]])
    assert abs(made.astype(int) - seen).mean() < 0.5 * abs(seen - seen.mean()).mean(), "they resemble the images"
