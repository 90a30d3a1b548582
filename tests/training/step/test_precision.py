"""bf16 and compile: when, and that graphs are reused from trial to trial of one model."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from hwcls.data.imageset import open_data
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World
from hwcls.training.step import precision
from hwcls.training.step.precision import COMPILE_STEPS, Precision, choose_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("capability", "steps", "expected"),
    [
        ((9, 0), COMPILE_STEPS, Precision(bf16=True, compiled=True)),
        ((9, 0), COMPILE_STEPS - 1, Precision(bf16=True)),
        ((7, 5), COMPILE_STEPS, Precision(compiled=True)),
        ((6, 1), COMPILE_STEPS, Precision()),
    ],
)
def test_chosen_by_hardware_and_total_steps(monkeypatch, capability, steps, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: capability >= (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision(GPU, torch.float32, steps) == expected
    assert not choose_precision(GPU, torch.float32, steps, grouped=True).compiled
    assert choose_precision(GPU, torch.float64, steps) == choose_precision(CPU, torch.float32, steps) == Precision()


def test_a_resumed_trial_chooses_as_an_uninterrupted_one(trial, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "hwcls.training.trainer.choose_precision", lambda *args, **kw: asked.append((args, kw)) or Precision()
    )
    config = trial()
    first = build_trainer(config, open_data(config.data), World(device=CPU))
    next(first.epochs())
    resumed = build_trainer(config, first.data, World(device=CPU))
    resumed.load_state(first.state() | {"confusions": {}})
    assert asked[0] == asked[1]
    assert asked[0][0][2] == config.epochs * first.feed.steps


@pytest.mark.slow
def test_a_ninth_size_is_compiled_too(monkeypatch):
    counter = CompileCounter()
    monkeypatch.setattr(precision, "BACKEND", counter)
    monkeypatch.setattr(precision, "_compiled", None)
    precision._reset_graphs()
    model = torch.nn.Linear(3, 2)
    for size in range(2, 13):
        forward = Precision(compiled=True).prepare(model, model)
        images = torch.randn(size, 3)
        assert torch.equal(forward(images), model(images))
        assert torch.equal(forward(images), model(images)), "again"
    assert counter.frame_count == 11


@pytest.mark.parametrize(("micro", "compiled"), [(64, {50}), (None, {100}), (40, {34})])
def test_the_size_that_most_micro_batches_have_is_compiled(trial, monkeypatch, micro, compiled):
    """Shares are split evenly: 100 images in micro-batches of at most 64 are 50 and 50; 279 leave 79 at last."""
    config = trial(data__batch_size=100, data__per_class=31)
    trainer = build_trainer(config, open_data(config.data), World(device=CPU), micro_batch=micro)
    sizes = []
    accumulator = trainer.accumulator
    monkeypatch.setattr(accumulator, "forward", lambda images: sizes.append(len(images)) or accumulator.ddp(images))
    next(trainer.epochs())
    assert set(sizes) == compiled


@pytest.mark.slow
def test_a_sweep_over_batch_sizes_reuses_one_graph(trial, monkeypatch):
    """Batches of 64, 128 and 256 in micro-batches of 64 are one graph; another model starts from scratch."""
    counter = CompileCounter()
    monkeypatch.setattr(precision, "BACKEND", counter)
    monkeypatch.setattr(precision, "_compiled", None)
    monkeypatch.setattr("hwcls.training.trainer.choose_precision", lambda *args, **kw: Precision(compiled=True))
    torch._dynamo.reset()
    data = open_data(trial(data__per_class=None).data)
    losses = {}
    for width, batch in ((8, 64), (8, 128), (8, 256), (12, 64)):
        config = trial(model__width=width, data__batch_size=batch, data__per_class=None, epochs=1)
        trainer = build_trainer(config, data, World(device=CPU), micro_batch=64)
        losses[width, batch] = next(trainer.epochs()).metrics["train/loss"]
        assert counter.frame_count == (1 if width == 8 else 2)
    monkeypatch.undo()
    plain = build_trainer(trial(data__per_class=None, epochs=1), data, World(device=CPU), micro_batch=64)
    assert next(plain.epochs()).metrics["train/loss"] == pytest.approx(losses[8, 64], rel=1e-6)
