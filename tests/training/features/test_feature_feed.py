"""Batches of features: which image, in which view, mixed with which other one."""

from __future__ import annotations

import dataclasses
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hwcls.config.data import AugmentConfig
from hwcls.config.trial import TrialConfig
from hwcls.data.augment.parameters import plan_epoch
from hwcls.data.imageset import ImageSet, Split
from hwcls.data.loader import Batch
from hwcls.data.transfer import upload as transfer
from hwcls.errors import UserError
from hwcls.training.distributed import World
from hwcls.training.features import feed as module
from hwcls.training.features.feed import FeatureFeed
from hwcls.training.step.ghost_batches import GroupFeed

CPU = torch.device("cpu")
COUNT, WIDTH = 53, 3


class Made:
    """Features that say what they are of: the split, the view and the row."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def read(self, split: str, view: int = 0) -> np.ndarray:
        self.asked.append((split, view))
        rows = np.arange(200)
        return np.stack([np.full(200, ["train", "val", "test"].index(split)), np.full(200, view), rows], 1).astype("f2")


def split(rows: np.ndarray) -> Split:
    return Split(np.zeros((200, 1, 1, 1), np.uint8), rows * 7 % 5, rows)


@pytest.fixture
def data() -> ImageSet:
    parts = {name: split(np.arange(start, 200, 3)[:COUNT]) for start, name in enumerate(("train", "val", "test"))}
    return ImageSet("made", tuple("abcde"), 8, 1, (0.5,), (0.5,), **parts, augment=AugmentConfig())


def feed(
    data: ImageSet, views: int = 1, augment: AugmentConfig | None = None, rank: int = 0, world: int = 1
) -> FeatureFeed:
    model = {"name": "timm", "backbone": "any", "pretrained": True, "frozen": True, "views": views}
    images = {"name": "made", "batch_size": 16, "augment": augment and augment.model_dump()}
    values = {"data": images, "model": model, "optimizer": {"name": "sgd"}, "seed": 5}
    return FeatureFeed(TrialConfig.from_dict(values), data, Made(), World(rank, world, CPU))


def epoch(found: FeatureFeed | GroupFeed, number: int = 1, micro: int | None = None) -> Batch:
    """All batches of an epoch as one."""
    batches = [part for step in found.train(number, micro) for part in step.parts]  # type: ignore[arg-type]
    join = lambda name: torch.cat([getattr(one, name) for one in batches])  # noqa: E731
    mixed = batches[0].other is not None
    return Batch(join("images"), join("labels"), join("index"), *((join("other"), join("share")) if mixed else ()))


def test_each_image_has_one_of_its_views_drawn_anew_in_each_epoch(data: ImageSet) -> None:
    epochs = [epoch(feed(data, views=4), number) for number in range(1, 41)]
    views = torch.zeros(len(epochs), COUNT)
    for number, found in enumerate(epochs):
        assert found.images.dtype == torch.float32
        assert torch.equal(found.images[:, 0], torch.zeros(COUNT))
        assert torch.equal(found.images[:, 2].long(), torch.from_numpy(data.train.rows)[found.index])
        assert torch.equal(found.labels, torch.from_numpy(data.train.labels)[found.index])
        views[number, found.index] = found.images[:, 1]
    shares = torch.bincount(views.long().flatten(), minlength=4) / views.numel()
    assert shares.numel() == 4
    assert (shares - 0.25).abs().max() < 0.05
    assert all(len(views[:, image].unique()) == 4 for image in range(COUNT))
    assert torch.equal(epoch(feed(data, views=4), 7).images, epochs[6].images)


def test_the_order_is_that_of_images(data: ImageSet) -> None:
    """The same images in the same order as `Feed`'s, and the same partners and shares of mixup."""
    augment = AugmentConfig(hflip=True, mixup=0.4)
    plan = plan_epoch(augment, COUNT, 8, 5, 3)
    found = epoch(feed(data, augment=augment), 3)
    there = plan.order[plan.partner]
    labels, rows = torch.from_numpy(data.train.labels), torch.from_numpy(data.train.rows)
    assert torch.equal(found.index, plan.order)
    assert torch.equal(found.other, labels[there])
    assert torch.allclose(found.share, plan.share.float())
    mixed = plan.blend * rows[plan.order] + (1 - plan.blend) * rows[there]
    assert torch.allclose(found.images[:, 2], mixed.float())


@pytest.mark.parametrize(("world", "micro"), [(1, 5), (2, None), (3, 2), (4, 1)])
@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_neither_ranks_nor_micro_batches_change_an_image(
    data: ImageSet, world: int, micro: int | None, mixup: float
) -> None:
    augment = AugmentConfig(mixup=mixup)
    ranks = [feed(data, 3, augment=augment, rank=rank, world=world) for rank in range(world)]
    steps = [list(one.train(2, micro)) for one in ranks]
    parts = [part for step in zip(*steps, strict=True) for one in step for part in one.parts]
    alone = epoch(feed(data, 3, augment=augment), 2)
    assert torch.equal(torch.cat([part.images for part in parts]), alone.images)
    assert torch.equal(torch.cat([part.index for part in parts]), alone.index)


def test_groups_are_complete(data: ImageSet) -> None:
    groups = epoch(GroupFeed(feed(data, 3), 4), micro=8)
    assert torch.equal(groups.images, epoch(feed(data, 3)).images[: COUNT // 4 * 4])


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_evaluation_is_of_the_plain_images(data: ImageSet, name: str) -> None:
    found = list(feed(data, views=4).evaluate(name, 20))  # type: ignore[arg-type]
    images = torch.cat([batch.images for batch in found])
    assert [len(batch.index) for batch in found] == [20, 20, 13]
    assert torch.equal(images[:, 1], torch.zeros(COUNT))
    assert torch.equal(images[:, 2].long(), torch.from_numpy(getattr(data, name).rows))
    assert images[0, 0] == ["train", "val", "test"].index(name)
    ranks = [batch.index for rank in (0, 1) for batch in feed(data, rank=rank, world=2).evaluate(name, 99, 31)]  # type: ignore[arg-type]
    assert torch.equal(torch.cat(ranks), torch.cat([batch.index for batch in feed(data).evaluate(name, 99, 31)]))  # type: ignore[arg-type]


def test_features_are_read_once_and_those_of_test_when_they_are_asked_for(data: ImageSet) -> None:
    found = feed(data, views=2)
    for number in (1, 2):
        epoch(found, number)
    assert found.source.asked == [("train", 0), ("train", 1), ("val", 0)]  # type: ignore[attr-defined]
    next(found.evaluate("test"))
    assert found.source.asked[3:] == [("test", 0)]  # type: ignore[attr-defined]


def test_a_gpu_gets_all_views_at_once_and_keeps_them_for_the_next_trial(
    data: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code of a GPU, on a CPU that passes for one."""
    expected = [epoch(feed(data, views=3, augment=AugmentConfig(mixup=0.4)), number) for number in (1, 2)]
    monkeypatch.setattr(transfer, "fits", lambda size, device: True)
    meta = SimpleNamespace(type="cuda")
    part = module._Features(data.train, [Made().read("train", view) for view in range(3)], CPU)
    part.device = meta  # type: ignore[assignment]
    assert part.resident
    assert [tuple(one.shape) for one in part.views] == [(3 * COUNT, WIDTH)]
    found = feed(data, views=3, augment=AugmentConfig(mixup=0.4))
    found._parts["train"] = part
    found.reuse_plan()
    for number, plain in enumerate(expected, 1):
        got = epoch(found, number)
        for name in ("images", "labels", "index", "other", "share"):
            assert torch.equal(getattr(got, name), getattr(plain, name)), name
        at = found.batch_at(torch.tensor([3, 1]))
        assert torch.equal(at.images, plain.images[[3, 1]])


def test_a_gpu_has_the_memory_of_the_trial_before_when_it_gets_other_features(
    data: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta, before, alive = torch.device("meta"), [], []

    def fits(size: int, device: torch.device) -> bool:
        alive.append([one() is not None for one in before])
        return True

    monkeypatch.setattr(transfer, "fits", fits)
    arrays = [Made().read("train", view) for view in range(3)]
    for some in (arrays[:2], arrays[:2], arrays[2:]):
        before.append(weakref.ref(module._Features.cached(data.train, some, meta)))
    assert alive == [[], [False, False]]
    narrow = np.ones((200, 2), np.float16)  # an array in the place of one that is gone has its id
    monkeypatch.setattr(module, "id", lambda one: 0, raising=False)
    assert [module._Features.cached(data.train, [one], meta).width for one in (arrays[0], narrow)] == [WIDTH, 2]


def test_a_mixture_that_needs_pixels_is_refused(data: ImageSet) -> None:
    """A file that asks for it is refused before: this one is the data set's default."""
    with pytest.raises(UserError, match=r"data\.augment\.cutmix: cutmix needs pixels, not features — use mixup"):
        feed(dataclasses.replace(data, augment=AugmentConfig(cutmix=1.0)))


def test_plans_that_are_drawn_ahead_give_the_same_features(data: ImageSet) -> None:
    mixed = AugmentConfig(mixup=0.5)
    ahead = feed(data, views=4, augment=mixed)
    ahead.draw_ahead(3)
    for number in (1, 2, 3):
        found, expected = epoch(ahead, number), epoch(feed(data, views=4, augment=mixed), number)
        assert torch.equal(found.images, expected.images)
        assert torch.equal(found.share, expected.share)


@pytest.mark.parametrize("augment", [None, AugmentConfig(mixup=0.4)], ids=["plain", "mixup"])
def test_features_that_a_gpu_has_no_room_for_are_read_in_advance(
    data: ImageSet, monkeypatch: pytest.MonkeyPatch, augment: AugmentConfig | None
) -> None:
    def found() -> list[torch.Tensor]:
        one = feed(data, views=3, augment=augment)
        assert one.resident == bool(module.ON_HOST)
        batches = [batch.images for batch in (epoch(one, 1), epoch(one, 2))]
        return [*batches, *(batch.images for batch in one.evaluate("val", 7))]

    plain = found()
    monkeypatch.setattr(module, "ON_HOST", ())
    assert all(torch.equal(*pair) for pair in zip(found(), plain, strict=True))
