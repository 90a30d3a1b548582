"""The learning rate, epoch by epoch."""

import pytest
import torch
from torch import nn

from hwcls.config.optim import (
    AdamConfig,
    AdamWConfig,
    ConstantConfig,
    CosineConfig,
    MetricConfig,
    PlateauConfig,
    SgdConfig,
)
from hwcls.training.optim import Schedule, build_optimizer

UP = MetricConfig(name="val/accuracy", goal="maximize")
DOWN = MetricConfig(name="val/loss", goal="minimize")


def rates(config, values, metric=UP, epochs=None, steps=1, lr=1.0):
    """The rate at each epoch's end when the metric takes `values`."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    schedule = Schedule(config, optimizer, lr=lr, epochs=epochs or len(values), metric=metric)
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


def test_warmup_rises_step_by_step():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = Schedule(ConstantConfig(warmup=2), optimizer, lr=2.0, epochs=4, metric=UP)
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


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (AdamConfig(lr=0.1), torch.optim.Adam),
        (AdamWConfig(lr=0.1), torch.optim.AdamW),
        (SgdConfig(lr=0.1, momentum=0.7, nesterov=True), torch.optim.SGD),
    ],
)
def test_each_name_builds_its_optimizer(config, kind):
    optimizer = build_optimizer(config, nn.Linear(2, 2))
    assert type(optimizer) is kind
    if kind is torch.optim.SGD:
        assert (optimizer.defaults["momentum"], optimizer.defaults["nesterov"]) == (0.7, True)
