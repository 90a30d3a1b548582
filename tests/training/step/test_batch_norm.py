"""BatchNorm on groups: a result that depends on neither micro-batches nor ranks, nor on memory."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import open_data
from hwcls.data.loader import Feed
from hwcls.errors import UserError
from hwcls.models.dispatch_mode import LightDispatchMode, operation_name
from hwcls.training import build
from hwcls.training.distributed import World
from hwcls.training.launch import launch
from hwcls.training.step.batch_norm import GroupedNorms, PassCounter, average_statistics
from hwcls.training.step.ghost_batches import GroupFeed

CPU = torch.device("cpu")
RESNET = {"name": "timm", "backbone": "resnet18", "stem": "small"}


def test_each_group_is_normalised_separately_and_counts_equally():
    torch.manual_seed(0)
    norm, plain = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    model = nn.Sequential(norm)
    grouped = GroupedNorms(model, 4, World(device=CPU))
    x = torch.randn(12, 3, 2, 2) * 3 + 1
    expected = torch.cat([nn.functional.batch_norm(group, None, None, training=True) for group in x.split(4)])
    grouped.before_step()
    got = torch.cat([model(x[:8]), model(x[8:])])  # micro-batches of two groups and of one
    grouped.after_step(12)
    assert torch.allclose(got, expected)
    means = torch.stack([group.mean((0, 2, 3)) for group in x.split(4)]).mean(0)
    variances = torch.stack([group.var((0, 2, 3)) for group in x.split(4)]).mean(0)
    assert torch.allclose(norm.running_mean, 0.1 * means)
    assert torch.allclose(norm.running_var, 0.9 + 0.1 * variances)
    norm.eval(), plain.eval()
    plain.load_state_dict(norm.state_dict())
    assert torch.equal(norm(x), plain(x)), "evaluation as ever"


def test_a_norm_of_a_models_own_may_take_more_than_an_input():
    class Scaled(nn.BatchNorm2d):
        def forward(self, x, scale, *, shift=0.0):
            return super().forward(x) * scale + shift

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.BatchNorm2d(3), Scaled(3)

        def forward(self, x):
            return self.second(x=self.first(input=x), scale=2.0, shift=1.0) + self.second(x, 3.0)

    torch.manual_seed(0)
    model, x = Model(), torch.randn(8, 3, 2, 2)
    expected = torch.cat([model(group) for group in x.split(4)])
    GroupedNorms(model, 4, World(device=CPU))
    torch.testing.assert_close(model(x), expected)
    torch.testing.assert_close(model.eval()(x), model(x))


def test_a_frozen_norm_does_not_change():
    norm = nn.BatchNorm2d(2).eval()
    grouped = GroupedNorms(nn.Sequential(norm), 2, World(device=CPU))
    grouped.before_step()
    norm(torch.randn(4, 2, 3, 3))
    grouped.after_step(4)
    assert torch.equal(norm.running_mean, torch.zeros(2))
    assert torch.equal(norm.running_var, torch.ones(2))


class OwnNorm(nn.BatchNorm2d):
    """A user's own, which may do anything with its counter."""

    def forward(self, x):
        seen = self.num_batches_tracked.item()
        return super().forward(x) + seen


def test_passes_are_counted_in_one_launch():
    """As by torch, but for the number of launches, and for those whose counter is more than one."""
    torch.manual_seed(0)
    layers = [nn.BatchNorm2d(3), OwnNorm(3), nn.BatchNorm2d(3, momentum=None), nn.BatchNorm2d(3).eval()]
    model, plain = nn.Sequential(*layers), nn.Sequential(*copy.deepcopy(layers))
    passes, x = PassCounter(model), torch.randn(8, 3, 2, 2)
    for _ in range(3):
        with Launched() as launched, passes.counted_at_once(2):
            found = [model(part) for part in x.split(4)]
        expected = [plain(part) for part in x.split(4)]
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(value, plain.state_dict()[key]) for key, value in model.state_dict().items())
    assert launched.found.count("_foreach_add_") == 1
    assert launched.found.count("add_") == 2 * 2, "of the user's norm, and of the one that averages over all batches"


def test_counters_are_back_after_an_error():
    model = nn.Sequential(nn.BatchNorm2d(3))
    passes, counter = PassCounter(model), model[0].num_batches_tracked
    with pytest.raises(ValueError, match="expected 4D"), passes.counted_at_once(1):
        model(torch.zeros(2, 3))
    assert model[0].num_batches_tracked is counter


class Launched(LightDispatchMode):
    """Remembers the operations that run within it."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.found.append(operation_name(func))
        return func(*args, **(kwargs or {}))


class Tokens(nn.Module):
    """Flattens images to rows before its norm, as LeViT does; `short` leaves the last row out."""

    def __init__(self, norm, short=False):
        super().__init__()
        self.norm, self.short = norm, short

    def forward(self, x):  # (B, C, H, W)
        rows = x.flatten(2).transpose(1, 2).flatten(0, 1)  # (B * H * W, C)
        return self.norm(rows[:-1] if self.short else rows)


@pytest.mark.parametrize("kept", [True, False], ids=["running", "none"])
def test_groups_are_of_images_not_of_rows(kept):
    torch.manual_seed(0)
    norm, x = nn.BatchNorm1d(3, track_running_stats=kept), torch.randn(8, 3, 2, 2)
    model = Tokens(norm)
    grouped = GroupedNorms(model, 4, World(device=CPU))
    grouped.before_step()
    got = model(x)
    grouped.after_step(8)
    images = [nn.functional.batch_norm(group, None, None, training=True) for group in x.split(4)]
    assert torch.allclose(got, torch.cat(images).flatten(2).transpose(1, 2).flatten(0, 1), atol=1e-6)
    if kept:
        assert torch.allclose(norm.running_mean, 0.1 * x.mean((0, 2, 3)), atol=1e-6)


def test_rows_that_do_not_split_into_groups_are_a_user_error():
    model = Tokens(nn.BatchNorm1d(3), short=True)
    GroupedNorms(model, 4, World(device=CPU))
    with pytest.raises(UserError, match="sees 31 rows of 8 images: no groups of 4"):
        model(torch.randn(8, 3, 2, 2))


def test_frozen_statistics_are_not_averaged(monkeypatch):
    model = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2).eval())
    world = World(size=2, device=CPU)
    monkeypatch.setattr(World, "sum", lambda self, tensor: tensor.fill_(6))
    average_statistics(model, world)
    assert model[0].running_mean.tolist() == model[0].running_var.tolist() == [3, 3]
    assert model[1].running_mean.tolist() == [0, 0]


def feed_of(trial, world, rank):
    config = trial(data__batch_size=24, data__per_class=39, data__augment={"crop": 1, "mixup": 0.5}).data
    return Feed(open_data(config), config, seed=3, device=CPU, rank=rank, world=world)


@pytest.mark.parametrize(("world", "micro"), [(1, 24), (1, 8), (2, 16), (3, 8), (4, 8)])
def test_shares_are_complete_groups_of_the_same_images(trial, world, micro):
    """351 images in batches of 24 and groups of 8: the last step is a single group, the last 7 images are left out."""
    alone = [b for step in feed_of(trial, 1, 0).train(2) for b in step.parts]
    index, images = torch.cat([b.index for b in alone]), torch.cat([b.images for b in alone])
    share = torch.cat([b.share for b in alone])
    steps = [list(GroupFeed(feed_of(trial, world, rank), 8).train(2, micro)) for rank in range(world)]
    assert len({len(ranks) for ranks in steps}) == 1
    start = 0
    for ranks in zip(*steps, strict=True):
        batches = [batch for step in ranks for batch in step.parts]
        assert all(len(b.labels) % 8 == 0 and len(b.labels) <= micro for b in batches)
        count = sum(len(b.labels) for b in batches)
        assert {step.size for step in ranks} == {count}
        here = slice(start, start + count)
        assert torch.equal(torch.cat([b.index for b in batches]), index[here])
        assert torch.equal(torch.cat([b.images for b in batches]), images[here])
        assert torch.equal(torch.cat([b.share for b in batches]), share[here])
        start += count
    assert (start, len(index)) == (344, 351)


def test_too_few_images_for_a_group(trial):
    with pytest.raises(ValueError, match="not a multiple of norm_batch 48"):
        trial(norm_batch=48)
    config = trial(data__batch_size=512, norm_batch=512)
    with pytest.raises(UserError, match="360 training images are fewer than one group of 512"):
        build.build_trainer(config, open_data(config.data), World(device=CPU))


def weights(path):
    return torch.load(path, weights_only=True)


def largest_difference(a, b):
    assert a.keys() == b.keys()
    return max((a[key].double() - b[key].double()).abs().max().item() for key in a)


def _train_rank(world, config, path, scarce_rank, most):
    """In float64; where `scarce_rank` is one, its memory holds the backward pass of `most` images only."""
    torch.set_num_threads(1)
    world = World(world.rank, world.size, CPU)
    if scarce_rank is not None:
        build.PROBED = ("cuda", "cpu")
        build_model = build.build_model

        def scarce(*args):
            built = build_model(*args)

            def fail(gradient):
                raise torch.OutOfMemoryError("CUDA out of memory, injected")

            def watch(module, inputs, output):
                if world.rank == scarce_rank and output.requires_grad and len(output) > most:
                    output.register_hook(fail)

            built.model.register_forward_hook(watch)
            return built

        build.build_model = scarce
    trainer = build.build_trainer(config, open_data(config.data), world, dtype=torch.float64)
    list(trainer.epochs())
    if world.rank == 0:
        torch.save(trainer.model.state_dict() | {"micro_batch": torch.tensor(trainer.micro_batch)}, path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["norm-free", "resnet18"])
def test_memory_that_runs_out_on_one_rank_changes_nothing(trial, tmp_path, kind):
    """In backward on rank 1 alone: no hang, smaller micro-batches, and the float64 weights of one rank with plenty."""
    changes = {"epochs": 1, "data__augment": {"crop": 1}}
    if kind == "resnet18":
        changes |= {"model": RESNET, "norm_batch": 8, "data__batch_size": 40, "data__per_class": 10, "ema": 0.5}
    else:
        changes |= {"model__norm": "none", "model__head": {"depth": 1}, "data__batch_size": 40}
        changes |= {"class_weights": "balanced", "label_smoothing": 0.1, "clip": 0.5, "ema": 0.9}
    config = trial(**changes)
    launch(1, _train_rank, config, tmp_path / "plenty.pt", None, 0)
    launch(2, _train_rank, config, tmp_path / "scarce.pt", 1, 8)
    plenty, scarce = weights(tmp_path / "plenty.pt"), weights(tmp_path / "scarce.pt")
    assert plenty.pop("micro_batch") == 40
    assert scarce.pop("micro_batch") == (5 if kind == "norm-free" else 8)
    assert plenty[next(iter(plenty))].dtype == torch.float64
    counters = {key for key in plenty if key.endswith("num_batches_tracked")}  # count groups of a rank; used by nothing
    for found in (plenty, scarce):
        for key in counters:
            del found[key]
    assert largest_difference(plenty, scarce) < 1e-10


@pytest.mark.slow
def test_resnet_with_groups_does_not_depend_on_micro_batches(tmp_path):
    """Weights and running statistics, in float64; without groups they would differ by far more."""
    values = {
        "data": {"name": "digits", "batch_size": 32, "per_class": 9},
        "model": RESNET,
        "optimizer": {"name": "sgd", "lr": 0.05},
        "epochs": 1,
    }
    found = {}
    for groups in (8, None):
        for micro in (32, 8):
            config = TrialConfig.from_dict(values | {"norm_batch": groups})
            trainer = build.build_trainer(
                config, open_data(config.data), World(device=CPU), micro_batch=micro, dtype=torch.float64
            )
            assert trainer.micro_batch == micro
            list(trainer.epochs())
            found[groups, micro] = trainer.model.state_dict()
    assert largest_difference(found[8, 32], found[8, 8]) < 1e-10
    assert largest_difference(found[None, 32], found[None, 8]) > 1e-3
    assert np.isfinite(largest_difference(found[8, 32], found[None, 32]))
