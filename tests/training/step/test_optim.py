"""The learning rate, epoch by epoch."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from hwcls import models
from hwcls.config.optim import (
    AdamConfig,
    AdamWConfig,
    ConstantConfig,
    CosineConfig,
    MetricConfig,
    OneCycleConfig,
    PlateauConfig,
    SgdConfig,
)
from hwcls.models.timm import TimmConfig
from hwcls.training.step.optim import Schedule, build_optimizer

UP = MetricConfig(name="val/accuracy", goal="maximize")
DOWN = MetricConfig(name="val/loss", goal="minimize")


def rates(config, values, metric=UP, epochs=None, steps=1, lr=1.0):
    """The rate at each epoch's end when the metric takes `values`."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    schedule = Schedule(config, optimizer, epochs=epochs or len(values), metric=metric)
    found = []
    for epoch, value in enumerate(values, start=1):
        for step in range(steps):
            schedule.before_step(epoch, step / steps)
        found.append(schedule.lr)
        schedule.after_epoch(epoch, value)
    return found


@pytest.mark.parametrize(
    ("config", "metric", "values", "expected"),
    [
        (PlateauConfig(factor=0.5, patience=0), UP, [1, 1, 1, 2, 2], [1, 1, 0.5, 0.25, 0.25]),
        (PlateauConfig(factor=0.5, patience=1), UP, [1, 1, 1, 1, 1, 1], [1, 1, 1, 0.5, 0.5, 0.25]),
        (PlateauConfig(factor=0.1, patience=2), UP, [1, 2, 3, 4, 5], [1] * 5),
        (PlateauConfig(factor=0.5, patience=0), DOWN, [3, 2, 1, 1, 1], [1, 1, 1, 1, 0.5]),
        (PlateauConfig(factor=0.5, patience=0, min_lr=0.4), UP, [1] * 5, [1, 1, 0.5, 0.4, 0.4]),
        (PlateauConfig(factor=0.5, patience=0, warmup=2), UP, [1] * 5, [pytest.approx(5e-4), 0.5005, 1, 1, 0.5]),
        # what counts as better: by more than 1e-4 of the best, upwards and downwards; NaN never does
        (PlateauConfig(factor=0.5, patience=0), UP, [1, 1.00009, 1.00011, 1.00012], [1, 1, 0.5, 0.5]),
        (PlateauConfig(factor=0.5, patience=0), DOWN, [1, 0.99991, 0.99989, 0.9998], [1, 1, 0.5, 0.5]),
        (PlateauConfig(factor=0.5, patience=0), UP, [1, float("nan"), 2, 2], [1, 1, 0.5, 0.5]),
        (PlateauConfig(factor=0.5, patience=0), DOWN, [1, float("nan"), 0.5, 0.5], [1, 1, 0.5, 0.5]),
        (PlateauConfig(factor=0.5, patience=0), UP, [3, 2, 1], [1, 1, 0.5]),  # worse is not better
        (PlateauConfig(factor=0.5, patience=0), DOWN, [1, 2, 3], [1, 1, 0.5]),
        # a better epoch forgives the worse ones before it
        (PlateauConfig(factor=0.5, patience=1), UP, [1, 0, 2, 0, 3, 0, 0, 0], [1] * 7 + [0.5]),
        (PlateauConfig(factor=0.5, patience=1), DOWN, [3, 4, 2, 4, 1, 4, 4, 4], [1] * 7 + [0.5]),
        (ConstantConfig(), UP, [1] * 3, [1, 1, 1]),
    ],
)
def test_truth_table(config, metric, values, expected):
    assert rates(config, values, metric) == pytest.approx(expected)


def test_cosine_ends_near_its_minimum():
    found = rates(CosineConfig(min_lr=0.1), [0] * 10, steps=50)
    assert found == sorted(found, reverse=True)
    assert found[4] == pytest.approx(0.55, abs=0.03)
    assert found[-1] == pytest.approx(0.1, abs=0.01)


def test_one_cycle_that_rises_within_its_first_step_begins_at_the_top():
    found = rates(OneCycleConfig(rise=0.25, end=0.0), [0] * 4)
    assert found == pytest.approx([1, 0.75, 0.25, 0])


@pytest.mark.parametrize(
    ("epochs", "steps", "rise", "start", "end"),
    [(3, 7, 0.3, 0.04, 4e-6), (1, 20, 0.5, 0.1, 0.01), (10, 1, 0.25, 1.0, 0.0), (2, 2, 0.5, 0.5, 0.5)],
)
def test_one_cycle_is_torchs(epochs, steps, rise, start, end):
    def fresh():
        return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.8)

    theirs = fresh()
    reference = torch.optim.lr_scheduler.OneCycleLR(
        theirs,
        max_lr=0.8,
        epochs=epochs,
        steps_per_epoch=steps,
        pct_start=rise,
        div_factor=1 / start,
        final_div_factor=start / end if end else float("inf"),
        cycle_momentum=False,
    )
    ours = fresh()
    config = OneCycleConfig(rise=rise, start=start, end=end)
    schedule = Schedule(config, ours, epochs=epochs, metric=UP, steps=steps)
    for step in range(epochs * steps):
        schedule.before_step(step // steps + 1, step % steps / steps)
        assert schedule.lr == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-9, abs=1e-12), step
        theirs.step()
        if step + 1 < epochs * steps:
            reference.step()
    assert schedule.lr == pytest.approx(0.8 * end)


def test_one_cycle_takes_no_warmup():
    with pytest.raises(ValueError, match="its own warm-up"):
        OneCycleConfig(warmup=1)


def test_warmup_rises_step_by_step():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = Schedule(ConstantConfig(warmup=2), optimizer, epochs=4, metric=UP)
    seen = []
    for epoch in (1, 2, 3):
        for step in range(4):
            schedule.before_step(epoch, step / 4)
            seen.append(schedule.lr)
    assert seen[:8] == pytest.approx([2 * (i / 4 + 1e-3) / 2 for i in range(8)])
    assert seen[8:] == [2.0] * 4


def test_norms_and_biases_are_not_decayed():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    model[3].bias.requires_grad_(False)
    optimizer = build_optimizer(AdamWConfig(lr=0.1, weight_decay=0.5), model)
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    all_given = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert decayed == {id(model[0].weight), id(model[3].weight)}
    assert id(model[3].bias) not in all_given
    assert all(group["fused"] for group in optimizer.param_groups)


def test_class_token_and_position_embedding_are_not_decayed():
    vit = models.build(TimmConfig(backbone="test_vit"), classes=3, channels=3, image_size=32)
    optimizer = build_optimizer(AdamWConfig(lr=0.1, weight_decay=0.5), vit)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: decay[id(weight)] for name, weight in vit.named_parameters()}
    spared = {name.rpartition(".")[2] for name, weight in vit.named_parameters() if weight.ndim > 1 and not found[name]}
    assert spared == {"cls_token", "pos_embed"}
    assert len(decay) == len(found)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (AdamConfig(lr=0.1), torch.optim.Adam),
        (AdamWConfig(lr=0.1, weight_decay=0.1), torch.optim.AdamW),
        (SgdConfig(lr=0.1, momentum=0.7, nesterov=True), torch.optim.SGD),
    ],
)
def test_each_name_builds_its_optimizer(config, kind):
    """To the bit, its state as well."""
    models = [nn.Linear(3, 2), nn.Linear(3, 2)]
    models[1].load_state_dict(models[0].state_dict())
    optimizers = [build_optimizer(config, model) for model in models]
    groups = [{key: group[key] for key in ("params", "weight_decay")} for group in optimizers[1].param_groups]
    more = {"momentum": 0.7, "nesterov": True} if kind is torch.optim.SGD else {}
    optimizers[1] = kind(groups, lr=config.lr, fused=True, **more)
    for number in range(5):
        for model, optimizer in zip(models, optimizers, strict=True):
            model(torch.full((4, 3), number + 1.0)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        optimizers[0].load_state_dict(optimizers[0].state_dict())
    assert isinstance(optimizers[0], kind)
    assert all(torch.equal(*pair) for pair in zip(*(model.parameters() for model in models), strict=True))


def test_no_step_loads_the_compiler():
    """It takes seconds, which every process that trains would wait for."""
    code = """
import sys, torch
from hwcls.config.optim import AdamConfig, AdamWConfig, SgdConfig
from hwcls.training.step.optim import build_optimizer
for config in (AdamConfig(), AdamWConfig(), SgdConfig()):
    model = torch.nn.Linear(2, 2)
    optimizer = build_optimizer(config, model)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
