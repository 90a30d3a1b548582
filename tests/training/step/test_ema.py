"""Averaged weights: their formula, what is scored and saved, and that a resumed run has the same."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from hwcls.data.imageset import open_data
from hwcls.training import checkpoint
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World
from hwcls.training.snapshot import take_snapshot
from hwcls.training.step.ema import Ema

CPU = World(device=torch.device("cpu"))


def test_formula_and_swap():
    model = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1), nn.Linear(1, 1).requires_grad_(False))
    ema = Ema(model, 0.5)
    weight, mean = model[0].weight, model[1].running_mean
    expected = weight.item()
    for step, value in enumerate([3.0, -1.0, 5.0, 2.0, 7.0, 1.0, 4.0, 0.0, 9.0, 8.0]):
        nn.init.constant_(weight, value)
        mean.fill_(value)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
        ema.before_step(step)
        ema.update()
    with ema.in_place():
        assert weight.item() == pytest.approx(expected)
        assert mean.item() != 8
    assert weight.item() == mean.item() == 8
    assert len(ema.mean) == 2 + 2 + 2, "weights, norm's weights, its statistics; nothing frozen"


def test_a_buffer_that_is_not_finite_is_copied():
    model = nn.Linear(2, 2)
    model.register_buffer("mask", torch.full((3, 3), -torch.inf).triu(1))
    model.register_buffer("mean", torch.zeros(3))
    ema = Ema(model, 0.5)
    model.mean.fill_(1)
    model.mask[0, 0] = 4
    for step in range(2):
        ema.before_step(step)
        ema.update()
    expected = model.mask.clone()
    with ema.in_place():
        assert torch.equal(model.mask, expected)
        assert 0 < model.mean[0] < 1 + 1e-6
    ema.load_state([tensor.clone() for tensor in ema.state()])
    assert torch.equal(model.mask, expected)


def test_an_average_moves_by_what_its_tensor_says():
    """A graph reads the share where it was when it was captured, and writes the averages where they were."""
    model = nn.Linear(3, 2)
    ema = Ema(model, 0.9)
    share, places = ema.share, [mean.data_ptr() for mean in ema.mean]
    ema.load_state([mean + 1 for mean in ema.mean])
    ema.before_step(5)
    expected = [torch.lerp(mean, live, 1 - 6 / 15) for mean, live in zip(ema.mean, ema.live, strict=True)]
    ema.update()
    assert ema.share is share
    assert [mean.data_ptr() for mean in ema.mean] == places
    for mean, wanted in zip(ema.mean, expected, strict=True):
        torch.testing.assert_close(mean, wanted, rtol=1e-6, atol=1e-7)


def test_the_averages_are_what_is_scored_and_saved(trial, tmp_path):
    config = trial(ema=0.9, epochs=3)
    trainer = build_trainer(config, open_data(config.data), CPU)
    records = list(trainer.epochs())
    checkpoint.write(take_snapshot(trainer, last=True), tmp_path)
    last = load_file(tmp_path / "last.safetensors")
    assert any(not torch.equal(last[key], value) for key, value in trainer.model.state_dict().items())
    trainer.model.load_state_dict(last)
    found = trainer.evaluate("val")
    assert found.loss.item() / len(trainer.data.val) == pytest.approx(records[-1].metrics["val/loss"], rel=1e-6)
    plain = build_trainer(trial(epochs=3), trainer.data, CPU)
    list(plain.epochs())
    assert records[-1].metrics["train/loss"] == plain.history.records[-1]["train/loss"], (
        "training does not see the averages"
    )
    assert records[-1].metrics["val/loss"] != plain.history.records[-1]["val/loss"]


def test_resumed_equals_uninterrupted_to_the_bit(trial, tmp_path):
    config = trial(ema=0.95, clip=1.0, scheduler={"name": "one_cycle"}, class_weights="balanced", norm_batch=16)
    data = open_data(config.data)
    uninterrupted = build_trainer(config, data, CPU)
    expected = [(r.metrics, r.lr) for r in uninterrupted.epochs()]
    half = build_trainer(config, data, CPU)
    for record in half.epochs():
        if record.epoch == 2:
            break
    checkpoint.write(take_snapshot(half), tmp_path)
    resumed = build_trainer(config, data, CPU)
    checkpoint.load(resumed, tmp_path)
    assert [(r.metrics, r.lr) for r in resumed.epochs()] == expected[2:]
    for found, wanted in (
        (resumed.weights(), uninterrupted.weights()),
        (resumed.history.best_weights, uninterrupted.history.best_weights),
    ):
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)
