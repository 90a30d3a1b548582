"""Trainings that freeze the backbone first and train its layers at rates of their own."""

from __future__ import annotations

import math
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file

from hwcls.data.imageset import open_data
from hwcls.inspection.record import InspectionRecorder
from hwcls.training import checkpoint
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World
from hwcls.training.launch import launch
from hwcls.training.snapshot import take_snapshot
from hwcls.training.step import micro_batch
from hwcls.training.step.graph import StepGraph
from hwcls.training.usage import Usage

CPU = World(device=torch.device("cpu"))
FIXED = "backbone.conv_stem.weight"


@pytest.fixture
def tuned(trial, weights):
    """A trial that fine-tunes; `model` are further settings of it."""

    def build(model=None, **changes):
        family = {
            "name": "timm",
            "backbone": "test_efficientnet",
            "pretrained": str(weights("test_efficientnet")),
            **(model or {}),
        }
        return trial(
            **{"model": family, "data__per_class": 12, "data__batch_size": 32, "optimizer__lr": 0.02} | changes
        )

    return build


def trainer_of(config, observer=None):
    return build_trainer(config, open_data(config.data), CPU, observer)


def numbers(records):
    return [{k: v for k, v in r.to_dict().items() if k not in ("seconds", "images_per_second")} for r in records]


def backbone(model):
    return {name: value.clone() for name, value in model.state_dict().items() if name.startswith("backbone.")}


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_head_is_trained_first_and_then_all(tuned, weights):
    trainer = trainer_of(tuned({"freeze_epochs": 2}, ema=0.9, clip=0.5, optimizer__weight_decay=0.1))
    before = backbone(trainer.model)
    assert torch.equal(before[FIXED], load_file(weights("test_efficientnet"))["conv_stem.weight"].sum(1, keepdim=True))
    for record in trainer.epochs():
        frozen = record.epoch <= 2
        assert same(before, backbone(trainer.model)) == frozen, "not even decayed, nor its statistics"
        assert same(before, {name: value for name, value in trainer.weights().items() if name in before}) == frozen
    moments = {name for name, weight in trainer.model.named_parameters() if trainer.optimizer.state[weight]}
    assert moments == {name for name, _ in trainer.model.named_parameters()}


def test_a_frozen_epoch_has_no_backward_pass_through_the_backbone(tuned):
    trainer = trainer_of(tuned({"freeze_epochs": 1}, epochs=2))
    called = []
    trainer.model.backbone.conv_head.register_full_backward_hook(lambda *_: called.append(trainer.epoch + 1))
    list(trainer.epochs())
    assert set(called) == {2}


def test_no_settings_is_what_it_was(tuned):
    """Factors of 1 and no frozen epochs, to the last bit, as a model that is not asked for any."""
    config = tuned({"backbone_lr": 1.0, "layer_decay": 1.0, "freeze_epochs": 0})
    found = trainer_of(config)
    records = list(found.epochs())
    assert len(found.optimizer.param_groups) == 2
    plain = trainer_of(config)
    optimizer = torch.optim.SGD(
        [
            {"params": [w for w in plain.model.parameters() if w.ndim > 1]},
            {"params": [w for w in plain.model.parameters() if w.ndim <= 1]},
        ],
        lr=config.optimizer.lr,
        momentum=config.optimizer.momentum,
        fused=True,
    )
    plain.step.optimizer = plain.schedule.optimizer = plain.schedule.plateau.optimizer = optimizer
    assert numbers(plain.epochs()) == numbers(records)
    assert same(found.weights(), plain.weights())


TUNED = {"freeze_epochs": 2, "backbone_lr": 0.1, "layer_decay": 0.75, "drop_path": 0.2}


@pytest.mark.parametrize("stop", [1, 2, 3], ids=["while frozen", "just before", "after"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"optimizer": {"name": "adamw", "lr": 0.01}, "scheduler": {"name": "cosine", "warmup": 1}, "ema": 0.9}],
    ids=["sgd-plateau", "adamw-cosine-ema"],
)
def test_resumed_equals_uninterrupted_to_the_bit(tuned, tmp_path, changes, stop):
    config = tuned(TUNED, **changes)
    uninterrupted = trainer_of(config)
    expected = list(uninterrupted.epochs())
    first = trainer_of(config)
    before = [next(running) for running in [first.epochs()] for _ in range(stop)]
    checkpoint.write(take_snapshot(first), tmp_path)
    resumed = trainer_of(config)
    checkpoint.load(resumed, tmp_path)
    assert numbers(before + list(resumed.epochs())) == numbers(expected)
    assert same(uninterrupted.weights(), resumed.weights())


def test_the_rates_of_the_layers_reach_the_optimizer(tuned):
    trainer = trainer_of(tuned({"backbone_lr": 0.1, "layer_decay": 0.5}, epochs=1))
    record = next(trainer.epochs())
    scales = trainer.config.model.lr_scales(trainer.model)
    found = {id(w): group["lr"] for group in trainer.optimizer.param_groups for w in group["params"]}
    for name, weight in trainer.model.named_parameters():
        assert found[id(weight)] == record.lr * scales.get(name, 1.0), name
    assert record.lr == found[id(trainer.model.head[0].weight)] == trainer.config.optimizer.lr
    assert min(found.values()) < 0.01 * record.lr


def test_a_captured_step_is_captured_again_when_more_is_trained(tuned, monkeypatch):
    monkeypatch.setattr("hwcls.training.step.graph.CAPTURED", ("cpu",))
    trainer = trainer_of(tuned(TUNED, epochs=4))
    resets, reset = [], StepGraph.reset
    monkeypatch.setattr(StepGraph, "reset", lambda graph: resets.append(trainer.epoch + 1) or reset(graph))
    records = numbers(trainer.epochs())
    assert resets == [1, 3]  # frozen, and trained from then on
    monkeypatch.setattr("hwcls.training.step.graph.CAPTURED", ())
    assert numbers(trainer_of(tuned(TUNED, epochs=4)).epochs()) == records


def test_memory_is_measured_where_all_of_the_model_is_trained(tuned, monkeypatch):
    peaks, measured, found = iter([100, 700]), Usage.training, []

    @contextmanager
    def training(usage):
        with measured(usage):
            yield
        usage.memory = usage.memory or next(peaks)  # as on a GPU

    monkeypatch.setattr(Usage, "training", training)
    trainer = trainer_of(tuned({"freeze_epochs": 2}, epochs=4))
    for _ in trainer.epochs():
        found.append(trainer.usage.memory)
    assert found == [100, 100, 700, 700]


def test_memory_is_fitted_for_the_model_that_is_trained_at_last(tuned, monkeypatch):
    trained = []

    def attempt(model, *_):
        trained.append(all(weight.requires_grad for weight in model.parameters()))
        return lambda size: None

    monkeypatch.setattr("hwcls.training.build.PROBED", ("cpu",))
    monkeypatch.setattr("hwcls.training.build.memory_attempt", attempt)
    trainer_of(tuned({"freeze_epochs": 2}))
    assert trained == [True]
    assert micro_batch.PROBED == ("cuda",)


def test_what_is_recorded_begins_when_all_is_trained(tuned):
    trainer = trainer_of(tuned({"freeze_epochs": 2}), InspectionRecorder())
    list(trainer.epochs())
    arrays = trainer.observer.arrays()
    assert arrays["epochs"].tolist() == [3, 4]
    assert "backbone.conv_stem" in arrays["layers"].tolist()
    assert (arrays["gradient_mean"] > 0).all()
    assert arrays["weights/epochs"].tolist() == [4]


def test_groups_of_norms_over_a_frozen_and_a_trained_backbone(tuned):
    trainer = trainer_of(tuned({"freeze_epochs": 1, "head": {"norm": "batch"}}, norm_batch=16, epochs=2))
    before = backbone(trainer.model)
    running = trainer.epochs()
    next(running)
    assert same(before, backbone(trainer.model))
    assert not torch.equal(trainer.model.head[0].running_mean, torch.zeros(1))
    next(running)
    assert not torch.equal(before["backbone.bn1.running_mean"], trainer.model.backbone.bn1.running_mean)


def _run_rank(world, config, path):
    torch.set_num_threads(1)
    trainer = build_trainer(
        config, open_data(config.data), World(world.rank, world.size, torch.device("cpu")), dtype=torch.float64
    )
    records = [record.to_dict() for record in trainer.epochs()]
    if world.rank == 0:
        torch.save({"model": trainer.model.state_dict(), "records": records}, path)


@pytest.mark.slow
def test_two_ranks_freeze_and_train_as_one(tuned, tmp_path):
    """Frozen norms, as those of a batch depend on the ranks' shares."""
    settings = {"freeze_epochs": 1, "frozen_norm": True, "backbone_lr": 0.5}
    config = tuned(settings, epochs=3, data__batch_size=51, optimizer__lr=0.001)
    found = []
    for size in (1, 2):
        launch(size, _run_rank, config, tmp_path / f"{size}.pt")
        found.append(torch.load(tmp_path / f"{size}.pt", weights_only=True))
    one, two = found
    for name, value in one["model"].items():
        assert (value.double() - two["model"][name].double()).abs().max() < 1e-9, name
    for a, b in zip(one["records"], two["records"], strict=True):
        assert math.isclose(a["train/loss"], b["train/loss"], rel_tol=1e-9)
