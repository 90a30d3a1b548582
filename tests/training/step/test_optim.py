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
from hwcls.errors import UserError
from hwcls.models.skip_init import skip_init
from hwcls.models.timm import TimmConfig
from hwcls.training.step.optim import Schedule, build_optimizer, restore_groups

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


def spared(model):
    """The names of the weights of several axes that weight decay leaves out."""
    optimizer = build_optimizer(AdamWConfig(lr=0.1, weight_decay=0.5), model)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: decay[id(weight)] for name, weight in model.named_parameters()}
    assert len(decay) == len(found)
    return {name for name, weight in model.named_parameters() if weight.ndim > 1 and not found[name]}


def test_class_token_and_position_embedding_are_not_decayed():
    vit = models.build(TimmConfig(backbone="test_vit"), classes=3, channels=3, image_size=32)
    assert spared(vit) == {"backbone.cls_token", "backbone.pos_embed"}


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("xcit_nano_12_p16_224", {"cls_token", "pos_embed.token_projection.weight"}),  # timm has a pattern
        ("visformer_tiny", {"pos_embed1", "pos_embed2", "pos_embed3"}),  # timm names none
    ],
)
def test_position_embeddings_are_not_decayed_whatever_timm_names(backbone, expected):
    import timm

    with skip_init():
        model = timm.create_model(backbone, num_classes=0)
    assert {name for name in spared(model) if not name.endswith(".temperature")} == expected


def test_embeddings_of_a_users_own_model_are_not_decayed():
    model = nn.Module()
    for name in ("class_token", "pos_embedding", "rel_pos_h", "tokens"):
        model.register_parameter(name, nn.Parameter(torch.zeros(1, 2, 3)))
    model.pos_embed = nn.Embedding(4, 2)
    model.block = nn.ModuleDict({"pos_embed": nn.Sequential(nn.Conv2d(2, 2, 3))})  # computed, not an embedding
    assert spared(model) == {"class_token", "pos_embedding", "rel_pos_h", "pos_embed.weight"}


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


GROUPS = {"0.weight": 0.1, "0.bias": 0.1, "1.weight": 0.025}
SCHEDULES = [
    ConstantConfig(),
    ConstantConfig(warmup=2),
    PlateauConfig(factor=0.1, patience=0, min_lr=1e-3, warmup=1),
    CosineConfig(min_lr=1e-3, warmup=1),
    OneCycleConfig(),
]


def three_layers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2))


@pytest.mark.parametrize("kind", [AdamConfig, AdamWConfig, SgdConfig])
@pytest.mark.parametrize("config", SCHEDULES, ids=lambda one: f"{one.name}{one.warmup or ''}")
def test_every_group_keeps_its_share_of_the_rate(kind, config):
    """Each weight moves as by torch's optimizer with that rate; through a checkpoint in the middle."""
    settings = kind(lr=0.05, weight_decay=0.1)
    net, reference = three_layers(), three_layers()
    optimizer = build_optimizer(settings, net, GROUPS)
    schedule = Schedule(config, optimizer, epochs=5, metric=UP, steps=3)
    alone = {name: build_optimizer(settings, nn.ParameterList([w])) for name, w in reference.named_parameters()}
    expected = rates(config, [1.0] * 5, epochs=5, steps=3, lr=0.05)
    for epoch in range(1, 6):
        for step in range(3):
            schedule.before_step(epoch, step / 3)
            for name, one in alone.items():
                one.param_groups[0]["lr"] = schedule.lr * GROUPS.get(name, 1.0)
            for model, some in ((net, [optimizer]), (reference, alone.values())):
                model(torch.full((4, 3), epoch + step / 3)).square().sum().backward()
                for one in some:
                    one.step()
                model.zero_grad()
        assert all(torch.equal(*pair) for pair in zip(net.parameters(), reference.parameters(), strict=True))
        if config.name != "one_cycle":  # `rates` has no steps
            assert schedule.lr == expected[epoch - 1]
        schedule.after_epoch(epoch, 1.0)
        if epoch == 2:
            stored = optimizer.state_dict(), schedule.state()
            optimizer = build_optimizer(settings, net, GROUPS)
            schedule = Schedule(config, optimizer, epochs=5, metric=UP, steps=3)
            optimizer.load_state_dict(stored[0])
            schedule.load_state(stored[1])
    assert (len(set(expected)) > 1) == (config != ConstantConfig())


def test_a_plateau_lowers_tiny_rates_too():
    """torch's own leaves a rate that would change by less than 1e-8."""
    optimizer = build_optimizer(AdamConfig(lr=1e-4), three_layers(), {"0.weight": 1e-5})
    schedule = Schedule(PlateauConfig(factor=0.5, patience=0), optimizer, epochs=3, metric=UP)
    for epoch in (1, 2):
        schedule.before_step(epoch, 0.0)
        schedule.after_epoch(epoch, 1.0)
    schedule.before_step(3, 0.0)
    assert [group["lr"] for group in optimizer.param_groups] == [5e-5, 5e-5, 5e-5 * 1e-5]


def test_weights_that_are_named_are_groups_of_their_own():
    net = three_layers()
    assert [len(group["params"]) for group in build_optimizer(AdamConfig(), net).param_groups] == [3, 3]
    scales = {"0.weight": 1.0, "0.bias": 2.0, "1.weight": 2.0}
    groups = build_optimizer(AdamConfig(), net, scales).param_groups
    assert [(group["lr_scale"], len(group["params"])) for group in groups] == [(1, 1), (1, 2), (2, 1), (2, 1), (1, 1)]


@pytest.mark.parametrize("kind", [AdamConfig, AdamWConfig, SgdConfig])
def test_a_checkpoint_of_an_earlier_version_is_resumed(kind):
    """Its groups have no scale."""
    net = three_layers()
    optimizer = build_optimizer(kind(lr=0.1), net)
    schedule = Schedule(PlateauConfig(factor=0.5, patience=0), optimizer, epochs=3, metric=UP)
    stored = optimizer.state_dict()
    for group in stored["param_groups"]:
        del group["lr_scale"]
        group["lr"] = 0.05  # lowered once
    optimizer.load_state_dict(stored)
    schedule.before_step(2, 0.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.05]


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


def test_groups_of_an_earlier_version_that_are_fewer_are_an_error_of_one_line():
    """Of a model that has neither norms nor biases: all of it was decayed."""
    model = nn.Linear(2, 2, bias=False)
    model.pos_embed = nn.Parameter(torch.ones(1, 2))
    config = AdamWConfig(lr=0.1, weight_decay=0.1)
    state = {"param_groups": [{"params": [0, 1]}]}
    with pytest.raises(UserError, match="version that decayed position embeddings — train it again"):
        restore_groups(build_optimizer(config, model), model, {}, state)
