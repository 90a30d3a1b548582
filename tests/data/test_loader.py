"""Batches: the same images, whoever takes them and in whatever portions."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from hwcls.config.data import AugmentConfig, DataConfig
from hwcls.data.augment.parameters import AugmentPlan
from hwcls.data.imageset import ImageSet
from hwcls.data.loader import Batch, Feed, chunk_bounds
from hwcls.data.transfer import pixels, staging
from hwcls.data.transfer import upload as transfer
from hwcls.errors import UserError
from hwcls.training.step.ghost_batches import GroupFeed

CPU = torch.device("cpu")
STRONG = AugmentConfig(crop=2, hflip=True, rotate=20, resized_crop=0.5, erase=0.5, mixup=0.3, cutmix=1.0)
MOVES = AugmentConfig(crop=2, hflip=True, vflip=True)
COLOURFUL = AugmentConfig(crop=2, hflip=True, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, cutout=5)
ALL = STRONG.model_copy(update=COLOURFUL.model_dump(exclude={"label"}, exclude_defaults=True) | {"trivial": True})


def feed(data: ImageSet, batch_size: int = 16, augment: AugmentConfig | None = None, **options: object) -> Feed:
    config = DataConfig(name="made", batch_size=batch_size, augment=augment)
    return Feed(data, config, **({"seed": 5, "device": CPU} | options))  # type: ignore[arg-type]


def epoch(data: ImageSet, world: int, micro: int | None, number: int = 1, **options: object) -> list[list[Batch]]:
    """Per step, the micro-batches of all ranks in rank order."""
    feeds = [feed(data, rank=rank, world=world, **options) for rank in range(world)]
    steps = []
    for step in zip(*(one.train(number, micro) for one in feeds), strict=True):
        parts = [list(one.parts) for one in step]
        assert [len(part) for part in parts] == [one.count for one in step]
        assert {one.size for one in step} == {sum(len(batch.labels) for part in parts for batch in part)}
        steps.append([batch for part in parts for batch in part])
    return steps


def joined(steps: list[list[Batch]]) -> dict[str, torch.Tensor]:
    batches = [batch for step in steps for batch in step]
    names = [name for name in ("images", "labels", "index", "other", "share") if getattr(batches[0], name) is not None]
    return {name: torch.cat([getattr(batch, name) for batch in batches]) for name in names}


@pytest.mark.parametrize(
    "augment",
    [AugmentConfig(), AugmentConfig(crop=2, hflip=True), AugmentConfig(rotate=20), STRONG, COLOURFUL, ALL],
    ids=["nothing", "moves", "warp", "strong", "colourful", "all"],
)
@pytest.mark.parametrize(("world", "micro"), [(1, 5), (2, None), (3, 2), (4, 1)])
def test_neither_ranks_nor_micro_batches_change_an_image(
    make: SimpleNamespace, augment: AugmentConfig, world: int, micro: int | None
) -> None:
    data = make.made_set(count=59)
    one = epoch(data, 1, None, augment=augment)
    many = epoch(data, world, micro, augment=augment)
    assert [sum(len(b.labels) for b in step) for step in one] == [sum(len(b.labels) for b in step) for step in many]
    alone, together = joined(one), joined(many)
    assert alone.keys() == together.keys()
    for name in alone:
        assert torch.equal(alone[name], together[name]), name


def test_threads_do_not_change_an_image(make: SimpleNamespace) -> None:
    data = make.made_set(side=32)
    one = joined(epoch(data, 1, None, augment=ALL))
    torch.set_num_threads(2)
    assert torch.equal(one["images"], joined(epoch(data, 1, None, augment=ALL))["images"])


def test_an_epoch_holds_every_image_once(make: SimpleNamespace) -> None:
    data = make.made_set(count=53)
    got = joined(epoch(data, 2, 3))
    assert sorted(got["index"].tolist()) == list(range(53))
    assert torch.equal(got["labels"], torch.from_numpy(data.train.labels)[got["index"]])
    other = joined(epoch(data, 2, 3, number=2))
    assert got["index"].tolist() != other["index"].tolist()


def test_images_are_the_splits_pixels_normalised(make: SimpleNamespace) -> None:
    data = make.made_set()
    got = joined(epoch(data, 1, None))
    pixels = data.train.images[data.train.rows[got["index"].numpy()]] / 255.0
    want = (pixels - np.array(data.mean)) / np.array(data.std)
    assert np.allclose(got["images"].permute(0, 2, 3, 1).numpy(), want, atol=1e-5)
    assert next(feed(data).train(1)).size == 16
    assert got["images"].shape[1:] == (3, 12, 12)


@pytest.mark.parametrize("augment", [AugmentConfig(), AugmentConfig(rotate=9), STRONG, ALL], ids=range(4))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_memory_and_type(make: SimpleNamespace, augment: AugmentConfig, dtype: torch.dtype) -> None:
    one = feed(make.made_set(), augment=augment, dtype=dtype)
    batch = next(next(one.train(1)).parts)
    assert batch.images.dtype == dtype
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.labels.dtype == batch.index.dtype == torch.int64
    assert next(one.evaluate("val")).images.is_contiguous(memory_format=torch.channels_last)


OPTIONS = {
    "crop": 2,
    "hflip": True,
    "vflip": True,
    "rotate": 30,
    "resized_crop": 0.4,
    "translate": 0.2,
    "scale": 0.2,
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.2,
    "trivial": True,
    "erase": 1.0,
    "cutout": 5,
}


@pytest.mark.parametrize("name", OPTIONS)
def test_images_of_one_batch_are_augmented_differently(make: SimpleNamespace, name: str) -> None:
    data = make.made_set(same=True)
    batch = next(next(feed(data, augment=AugmentConfig.model_validate({name: OPTIONS[name]})).train(1)).parts)
    different = batch.images.flatten(1).unique(dim=0)
    assert len(different) >= (2 if "flip" in name else 8)


def test_mixed_labels(make: SimpleNamespace) -> None:
    data = make.made_set(same=True)
    batch = next(next(feed(data, augment=AugmentConfig(cutmix=1.0)).train(1)).parts)
    plain = next(feed(data).evaluate("train")).images[0]
    assert torch.equal(batch.images, plain.expand_as(batch.images))  # equal images mixed are that image
    assert batch.other is not None
    assert batch.share is not None
    assert (batch.labels != batch.other).any()
    assert ((batch.share >= 0) & (batch.share <= 1)).all()


@pytest.mark.parametrize(
    ("count", "batch_size", "world", "sizes"),
    [
        (53, 16, 1, [16, 16, 16, 5]),
        (48, 16, 1, [16, 16, 16]),
        (49, 16, 1, [16, 16, 16]),  # one image: BatchNorm cannot use it
        (53, 16, 2, [16, 16, 16, 5]),
        (53, 16, 3, [16, 16, 16, 5]),
        (49, 16, 3, [16, 16, 16]),
        (6, 16, 3, [6]),
        (3, 16, 3, [3]),
        (8, 2, 3, [2, 2, 2, 2]),  # a rank without images still takes part in the step
    ],
)
def test_steps(make: SimpleNamespace, count: int, batch_size: int, world: int, sizes: list[int]) -> None:
    data = make.made_set(count=count)
    for rank in range(world):
        one = feed(data, batch_size, rank=rank, world=world)
        steps = list(one.train(1))
        assert [step.size for step in steps] == sizes
        assert one.steps == len(sizes)
    if batch_size < world:
        assert steps[0].count == 0
        assert list(steps[0].parts) == []


def test_a_rank_gets_two_images_or_none(make: SimpleNamespace) -> None:
    data = make.made_set(count=21)
    shares = [[sum(len(part.labels) for part in step.parts) for step in feed(data, 16, rank=rank, world=4).train(1)]
              for rank in range(4)]  # fmt: skip
    assert shares == [[4, 3], [4, 2], [4, 0], [4, 0]]


def test_too_few_images(make: SimpleNamespace) -> None:
    with pytest.raises(UserError, match="a single training image"):
        feed(make.made_set(count=1))


def test_micro_batches_differ_by_one_at_most(make: SimpleNamespace) -> None:
    step = next(feed(make.made_set(), 33).train(1, micro_batch=16))
    assert [len(batch.labels) for batch in step.parts] == [11, 11, 11]


@pytest.mark.parametrize("micro", [2, 3, 4, 5, None])
@pytest.mark.parametrize("count", [2, 3, 5, 7, 21])
def test_no_micro_batch_of_one_image(make: SimpleNamespace, count: int, micro: int | None) -> None:
    """Not on any rank: BatchNorm1d takes each of them."""
    data = make.made_set(count=count)
    norm = torch.nn.BatchNorm1d(3 * 12 * 12)
    for rank in range(3):
        for step in feed(data, 16, rank=rank, world=3).train(1, micro):
            sizes = [len(norm(part.images.flatten(1))) for part in step.parts]
            assert len(sizes) == step.count
            odd_in_twos = micro == 2 and sum(sizes) % 2 == 1
            assert all(size <= (micro or 16) for size in sizes[odd_in_twos:])
            assert not odd_in_twos or sizes[0] == 3


def test_micro_batches_of_one_where_one_is_asked_for(make: SimpleNamespace) -> None:
    step = next(feed(make.made_set(count=3)).train(1, micro_batch=1))
    assert [len(batch.labels) for batch in step.parts] == [1, 1, 1]


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("limit", [None, 10, 1000])
def test_evaluation_sees_each_image_once(make: SimpleNamespace, world: int, limit: int | None) -> None:
    data = make.made_set()
    for split, part in (("train", data.train), ("val", data.val), ("test", data.test)):
        feeds = [feed(data, rank=rank, world=world, seed=rank) for rank in range(world)]
        batches = [batch for one in feeds for batch in one.evaluate(split, batch_size=4, limit=limit)]  # type: ignore[arg-type]
        index = torch.cat([batch.index for batch in batches])
        assert len(index) == len(set(index.tolist())) == min(len(part), limit or len(part))
        labels = torch.cat([batch.labels for batch in batches])
        assert torch.equal(labels, torch.from_numpy(part.labels)[index])
        if limit == 10:
            again = torch.cat([batch.index for batch in feed(data, seed=99).evaluate(split, 512, 10)])  # type: ignore[arg-type]
            assert again.tolist() == index.tolist()


def test_more_ranks_than_images(make: SimpleNamespace) -> None:
    data = make.made_set()
    sizes = [sum(len(b.labels) for b in feed(data, rank=r, world=23).evaluate("val")) for r in range(23)]
    assert sizes == [1] * 20 + [0] * 3


def test_the_data_sets_own_augmentation_is_the_default(make: SimpleNamespace) -> None:
    data = make.made_set()
    assert feed(data).augment == data.augment
    assert feed(data, augment=AugmentConfig(crop=1)).augment.crop == 1


@pytest.mark.parametrize(("count", "parts"), [(10, 3), (2, 5), (0, 2), (12, 4)])
def test_share_is_tensor_split(count: int, parts: int) -> None:
    want = [len(part) for part in torch.arange(count).tensor_split(parts)]
    bounds = [chunk_bounds(count, parts, part) for part in range(parts)]
    assert [high - low for low, high in bounds] == want
    assert all(a[1] == b[0] for a, b in itertools.pairwise(bounds))


def test_no_share_below_the_least() -> None:
    assert [chunk_bounds(5, 4, part, least=2) for part in range(4)] == [(0, 3), (3, 5), (5, 5), (5, 5)]
    assert [chunk_bounds(1, 2, part, least=2) for part in range(2)] == [(0, 1), (1, 1)]
    assert [chunk_bounds(9, 2, part, least=2) for part in range(2)] == [(0, 5), (5, 9)]


MEASURE = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
import numpy as np
from hwcls.config.data import DataConfig
from hwcls.data.loader import Feed

spec = spec_from_file_location("benchmark", sys.argv[1])
benchmark = module_from_spec(spec)
spec.loader.exec_module(benchmark)
benchmark.open_data(DataConfig(name="tinyimagenet"))  # builds the store

class Greedy(Feed):
    def train(self, epoch, micro_batch=None):
        self.copy = np.ones(64 << 20, np.uint8)
        yield from super().train(epoch, micro_batch)

plain = benchmark.memory_mb(2)["own"]
benchmark.Feed = Greedy
print(benchmark.memory_mb(2)["own"] - plain)
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux reports which memory is shared")
def test_the_benchmark_measures_the_memory_of_feeds_at_work(make: SimpleNamespace, raw: Path) -> None:
    """In each trial: a feed that keeps a copy of its own shows. In a process of its own, as the benchmark forks."""
    make.write_zip(raw / "tiny-imagenet-200.zip", make.tiny_files())
    benchmark = Path(__file__).parents[2] / "benchmarks" / "data.py"
    command = [sys.executable, "-c", MEASURE, str(benchmark)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert float(done.stdout) == pytest.approx(2 * 64, abs=24)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpu_gets_the_same_images(make: SimpleNamespace) -> None:
    data = make.made_set()
    for augment in (AugmentConfig(), AugmentConfig(crop=2, hflip=True), STRONG, COLOURFUL, ALL):
        here = joined(epoch(data, 1, None, augment=augment))
        there = joined(epoch(data, 1, None, augment=augment, device=torch.device("cuda")))
        for name in here:
            assert torch.allclose(here[name], there[name].cpu(), atol=1e-4), name


@pytest.mark.parametrize("augment", [AugmentConfig(), MOVES, COLOURFUL, ALL], ids=["nothing", "moves", "colour", "all"])
def test_a_gpu_never_waits_nor_meets_cpu_tensors(
    make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, augment: AugmentConfig
) -> None:
    """Fake tensors know devices, but no values: to ask for one, or for how many are chosen, is an error."""
    data = make.made_set(count=16)
    monkeypatch.setattr(transfer, "fits", lambda size, device: True)
    with FakeTensorMode():
        one = feed(data, augment=augment, device=torch.device("cuda"))
        batches = [batch for step in one.train(1) for batch in step.parts]
        batches += list(one.evaluate("val"))
    assert {part.device.type for batch in batches for part in vars(batch).values() if part is not None} == {"cuda"}
    assert sum(len(batch.labels) for batch in batches) == len(data.train) + len(data.val)


@pytest.mark.parametrize("augment", [STRONG, ALL], ids=["strong", "all"])
def test_resuming_gives_the_epochs_that_were_missing(make: SimpleNamespace, augment: AugmentConfig) -> None:
    """A new feed with other ranks gives the same epoch 3 as one that ran from epoch 1."""
    data = make.made_set()
    whole = feed(data, augment=augment)
    for number in (1, 2):
        for step in whole.train(number):
            list(step.parts)
    uninterrupted = joined([list(step.parts) for step in whole.train(3)])
    resumed = joined(epoch(make.made_set(), 2, 3, number=3, augment=augment))
    for name, values in uninterrupted.items():
        assert torch.equal(values, resumed[name]), name


def test_order_is_a_function_of_seed_and_epoch_alone(make: SimpleNamespace) -> None:
    data = make.made_set()

    def order(**options: object) -> list[int]:
        return joined(epoch(data, 1, None, **options))["index"].tolist()

    plain = order()
    assert plain == order(augment=ALL) == order(batch_size=7)[: len(plain)]
    assert plain != order(seed=6)
    assert plain != order(number=2)


class TestPlansAhead:
    """Plans that a thread draws while the epoch before trains."""

    @staticmethod
    def drawn(found: Feed) -> list[tuple[int, bool]]:
        """The epochs of the plans that are drawn from now on, and whether the main thread draws."""
        draws, draw = [], found._draw_plan

        def watched(epoch: int) -> AugmentPlan:
            draws.append((epoch, threading.current_thread() is threading.main_thread()))
            return draw(epoch)

        found._draw_plan = watched  # type: ignore[method-assign]
        return draws

    def test_are_those_that_are_drawn_when_they_are_needed(self, make: SimpleNamespace) -> None:
        data = make.made_set(count=40)
        ahead = feed(data, augment=ALL)
        ahead.draw_ahead(3)
        draws = self.drawn(ahead)
        for number in (1, 2, 3):
            found = joined([list(step.parts) for step in ahead.train(number, 5)])
            expected = joined([list(step.parts) for step in feed(data, augment=ALL).train(number, 5)])
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[name], expected[name]) for name in found)
        assert draws == [(1, True), (2, False), (3, False)]  # and none beyond the last epoch

    def test_of_another_epoch_are_not_used(self, make: SimpleNamespace) -> None:
        data = make.made_set(count=40)
        ahead = feed(data, augment=ALL)
        ahead.draw_ahead(9)
        for number in (1, 5, 5, 2):
            found = joined([list(step.parts) for step in ahead.train(number)])
            expected = joined([list(step.parts) for step in feed(data, augment=ALL).train(number)])
            assert torch.equal(found["images"], expected["images"])

    def test_belong_to_one_feed(self, make: SimpleNamespace) -> None:
        found = feed(make.made_set(count=40))
        found.draw_ahead(3)
        groups = found.rebatched(8)
        draws = self.drawn(found)
        next(found.train(1))
        assert next(groups.train(2)).size == 8
        found._plans._thread.shutdown()  # type: ignore[union-attr]  # waits for the draw
        assert draws == [(1, True), (2, False)]
        assert groups._plans._next[0] == 3  # type: ignore[index]

    def test_that_fail_raise_in_the_epoch_that_needs_them(self, make: SimpleNamespace) -> None:
        found = feed(make.made_set(count=40))
        found.draw_ahead(2)
        draw = found._draw_plan
        next(found.train(1))

        def fail(epoch: int) -> AugmentPlan:
            raise MemoryError

        found._draw_plan = fail  # type: ignore[method-assign]
        next(found.train(2))  # was begun before
        found._draw_plan = draw  # type: ignore[method-assign]
        found.draw_ahead(9)
        found._draw_plan = lambda epoch: draw(epoch) if epoch == 1 else fail(epoch)  # type: ignore[method-assign]
        next(found.train(1))
        with pytest.raises(MemoryError):
            next(found.train(2))


@pytest.mark.parametrize(
    ("side", "channels", "micro", "size"),
    [(28, 1, 16, 2048), (64, 3, 16, 682), (64, 3, 512, 1024), (224, 3, 16, 55), (224, 3, 64, 128), (4096, 3, 1, 2)],
)
def test_a_gpu_evaluates_as_many_images_as_a_few_megabytes_hold(
    monkeypatch: pytest.MonkeyPatch, side: int, channels: int, micro: int, size: int
) -> None:
    found = Feed.__new__(Feed)
    monkeypatch.setattr(Feed, "shape", (channels, side, side))
    found.device = torch.device("cuda")
    assert found.evaluation_size(micro) == size
    found.device = CPU
    assert found.evaluation_size(micro) == min(512, 2 * micro)


def test_what_is_evaluated_goes_to_the_device_once(make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    found, chosen = feed(make.made_set(count=40)), []
    choose = found._choose
    monkeypatch.setattr(found, "_choose", lambda *given: chosen.append(given) or choose(*given))
    for _ in range(3):
        for limit in (None, 10):
            assert sum(len(batch.labels) for batch in found.evaluate("train", 8, limit)) == limit or 40
    assert chosen == [("train", None), ("train", 10)]


@pytest.fixture
def staged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that is treated as a GPU without room for the data: what is opened from here on is read batch by batch."""
    monkeypatch.setattr(pixels, "ON_HOST", ())


def threads() -> int:
    return sum(thread.name == "stage" for thread in threading.enumerate())


@pytest.mark.parametrize(
    "augment",
    [AugmentConfig(), MOVES, STRONG, AugmentConfig(mixup=0.3), ALL],
    ids=["nothing", "moves", "strong", "mixup", "all"],
)
@pytest.mark.parametrize(("world", "micro"), [(1, None), (1, 5), (3, 2)])
def test_images_read_batch_by_batch_are_those_of_memory(
    make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, augment: AugmentConfig, world: int, micro: int | None
) -> None:
    """Also of a second epoch, of an incomplete last batch and of partners in cutmix; to the bit."""
    plain = [joined(epoch(make.made_set(), world, micro, number, augment=augment)) for number in (1, 2)]
    monkeypatch.setattr(pixels, "ON_HOST", ())
    monkeypatch.setattr("hwcls.data.augment.apply.PORTION", 3 * 432 * 4)  # partners in several portions
    data = make.made_set()
    assert not feed(data).resident
    for number, expected in enumerate(plain, 1):
        got = joined(epoch(data, world, micro, number, augment=augment))
        assert got.keys() == expected.keys()
        for name, values in got.items():
            assert torch.equal(values, expected[name]), name
    assert threads() == 0


@pytest.mark.parametrize("limit", [None, 10])
def test_evaluation_batch_by_batch(make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, limit: int | None) -> None:
    def found() -> list[torch.Tensor]:
        one = feed(make.made_set())
        return [batch.images for name in ("train", "val", "test") for batch in one.evaluate(name, 7, limit)]  # type: ignore[arg-type]

    plain = found()
    monkeypatch.setattr(pixels, "ON_HOST", ())
    with torch.inference_mode():
        assert all(torch.equal(*pair) for pair in zip(found(), plain, strict=True))
    assert threads() == 0


def test_only_what_does_not_fit_is_read_batch_by_batch(
    make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, staged: None
) -> None:
    """What of several splits fits is kept on the GPU, train first."""
    asked = []
    monkeypatch.setattr(transfer, "fits", lambda size, device: asked.append(size) or size < 10_000)  # type: ignore[func-returns-value]
    one = feed(make.made_set())  # 53 images of 432 bytes to train on, 20 of val
    assert not one.resident
    assert pixels.Pixels.cached(one.data.val, CPU).resident
    assert asked == [53 * 432, 20 * 432]
    assert sum(len(batch.labels) for batch in one.evaluate("val", 7)) == 20


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_an_epoch_that_is_left_early_ends_its_thread(make: SimpleNamespace, staged: None, taken: int) -> None:
    one = feed(make.made_set(), batch_size=4)
    for number, step in enumerate(one.train(1), 1):
        assert threads() == 1
        if number > taken:
            break
        list(step.parts)
    assert threads() == 0
    batches = one.evaluate("val", 2)
    next(batches)
    assert threads() == 1
    del batches
    assert threads() == 0


def test_parts_that_are_asked_for_late_or_not_at_all(make: SimpleNamespace, staged: None) -> None:
    """As where a captured step does without them, or several ranks share the groups of a BatchNorm."""
    data = make.made_set()
    expected = [next(step.parts).images for step in feed(data).train(1)]
    one, found = feed(data), {}
    for number, step in enumerate(one.train(1)):
        if number % 2:
            found[number] = next(step.parts).images
    assert sorted(found) == [1, 3]
    assert all(torch.equal(images, expected[number]) for number, images in found.items())
    steps = list(one.train(1))
    assert all(torch.equal(next(step.parts).images, expected[number]) for number, step in enumerate(steps))


def test_several_ranks_do_not_read_the_groups_of_the_others(
    make: SimpleNamespace, staged: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, read = [], []
    for world in (1, 2):
        for rank in range(world):
            groups = GroupFeed(feed(make.made_set(), 16, rank=rank, world=world), 4)
            plain.append(torch.cat([part.images for step in groups.train(1, 8) for part in step.parts]))
            read.append(len(plain[-1]))
    assert read[1] + read[2] == read[0] == 52
    assert torch.equal(plain[0].flatten(1).sum(1).sort().values, torch.cat(plain[1:]).flatten(1).sum(1).sort().values)
    monkeypatch.setattr(staging.Stage, "__init__", None)  # with several ranks there is none
    for _ in GroupFeed(feed(make.made_set(), 16, rank=1, world=2), 4).train(1, 8):
        pass


def test_a_file_that_cannot_be_read_is_named_in_the_training(
    make: SimpleNamespace, staged: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, calls = feed(make.made_set()), itertools.count()
    read = pixels.Pixels._read

    def failing(self: pixels.Pixels, rows: torch.Tensor, out: torch.Tensor) -> None:
        if next(calls) == 2:
            raise OSError("Input/output error: train.images.npy")
        read(self, rows, out)

    monkeypatch.setattr(pixels.Pixels, "_read", failing)
    with pytest.raises(OSError, match=r"Input/output error: train\.images\.npy"):
        joined([list(step.parts) for step in one.train(1)])
    assert threads() == 0
