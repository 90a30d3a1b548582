"""Batches for one rank of a data-parallel trial, augmented on the device, without a DataLoader."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, Self
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from hwcls.config.data import DataConfig
from hwcls.data.augment.apply import Normalise, augment_batch, cache_sized_portions, mix_images
from hwcls.data.augment.parameters import AugmentPlan, plan_epoch
from hwcls.data.augment.plan_ahead import PlanAhead
from hwcls.data.enlarged import flat_images
from hwcls.data.imageset import ImageSet, Split
from hwcls.data.splits import random_permutation
from hwcls.errors import UserError

RESERVED = 0.2  # share of a GPU's memory
UPLOADED = 2**28  # bytes at once
EVALUATED, EVALUATED_BYTES = 2048, 2**25  # images at once on a GPU, and their bytes: without gradients more fit
SplitName = Literal["train", "val", "test"]
SAMPLE = 5  # stream of (split_seed) that picks an evaluation sample


@dataclass
class Batch:
    """Images and what the loss needs: share * ce(labels) + (1 - share) * ce(other), share 1 where it is None.

    Attributes:
        images: (b, C, S, S), normalised, channels_last; (b, F) where a model gets features of images.
        labels: (b,) int64.
        index: (b,) int64, the position in the split, a row of Split.labels.
        other: (b,) int64, the labels mixed in by mixup or cutmix, or None.
        share: (b,) in [0, 1], the weight of `labels`, or None.
    """

    images: Tensor
    labels: Tensor
    index: Tensor
    other: Tensor | None = None
    share: Tensor | None = None


@dataclass
class Step:
    """One optimizer step as a rank sees it.

    Attributes:
        size: Images in the global batch.
        count: Micro-batches on this rank; 0 where the batch has fewer images than there are ranks.
        parts: The micro-batches, made when asked for.
        first: The position of its first image in the epoch.
    """

    size: int
    count: int
    parts: Iterator[Batch]
    first: int = 0


class EpochFeed:
    """Batches for one rank, of whatever a subclass makes of the images of an ImageSet.

    The order of an epoch and what becomes of each image are functions of (seed, epoch) alone. A global batch is a run
    of `config.batch_size` positions, of which each rank takes its contiguous share: two images or more, or none, as
    BatchNorm cannot use a single one. So an incomplete last batch is kept, for any
    number of ranks, unless it is one image.

    Args:
        data: From `open_data`.
        config: Its batch_size, augment and split_seed are used.
        seed: Of order and augmentation.
        device: Where batches are made.
        rank, world: This rank, of how many.
        dtype: Of the images.

    Raises:
        UserError: An epoch would have no step at all.
    """

    def __init__(
        self,
        data: ImageSet,
        config: DataConfig,
        *,
        seed: int,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.data, self.config, self.seed = data, config, seed
        self.device, self.rank, self.world, self.dtype = device, rank, world, dtype
        self.augment = config.augment if config.augment is not None else data.augment
        self._plan: AugmentPlan | None = None  # of the epoch that `train` is in
        self._reuse_plan, self._plans = False, PlanAhead()
        self._evaluated: dict[tuple[SplitName, int | None], Tensor] = {}  # this rank's positions, on the device
        self.steps = self._count_steps()
        if not self.steps:
            raise UserError("a single training image is too few", where="data", remedy="keep more images")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image in a batch."""
        raise NotImplementedError

    @property
    def resident(self) -> bool:
        """Whether the training images are on the device itself, so that no step waits for the host."""
        raise NotImplementedError

    def evaluation_size(self, micro_batch: int) -> int:
        """How many images are evaluated at once where `micro_batch` of them fit into memory in training."""
        raise NotImplementedError

    def _draw_plan(self, epoch: int) -> AugmentPlan:
        """The plan of an epoch, on the CPU."""
        raise NotImplementedError

    def _train_batch(self, plan: AugmentPlan, place: slice | Tensor) -> Batch:
        """The batch of some positions of an epoch."""
        raise NotImplementedError

    def _plain_batch(self, split: SplitName, index: Tensor) -> Batch:
        """Some images (b,) of a split, unaugmented."""
        raise NotImplementedError

    def rebatched(self, size: int) -> Self:
        """The same epochs in batches of `size`, for a single rank."""
        other = copy.copy(self)
        other.config = self.config.model_copy(update={"batch_size": size})
        other.rank, other.world, other._plan, other._reuse_plan = 0, 1, None, False
        other._plans, other._evaluated = PlanAhead(self._plans.last), {}
        other.steps = other._count_steps()
        return other

    def _count_steps(self) -> int:
        count, size = len(self.data.train), self.config.batch_size
        return -(-count // size) - (count % size == 1)

    def train(self, epoch: int, micro_batch: int | None = None) -> Iterator[Step]:
        """The steps of an epoch.

        Args:
            epoch: From 1.
            micro_batch: The most images in one micro-batch; None: this rank's complete share. An odd share in twos
                begins with three, as BatchNorm cannot use a single image; only with 1 are there
                micro-batches of one.
        """
        plan, count = self._load_plan(epoch), len(self.data.train)
        size = self.config.batch_size
        for start in range(0, self.steps * size, size):
            stop = min(start + size, count)
            low, high = chunk_bounds(stop - start, self.world, self.rank, least=2)
            here = high - low
            most = micro_batch or here
            parts = -(-here // most) if here else 0
            bounds = [chunk_bounds(here, parts, part, least=min(most, 2)) for part in range(parts)]
            places = [slice(start + low + first, start + low + last) for first, last in bounds if first < last]
            batches = (self._train_batch(plan, place) for place in places)
            yield Step(stop - start, len(places), batches, start)

    def draw_ahead(self, last: int) -> None:
        """From the next epoch on, have a thread draw each epoch's plan during the one before, up to epoch `last`."""
        self._plans = PlanAhead(last)

    def reuse_plan(self) -> None:
        """From the next epoch on, write each epoch's plan into the memory of the one before, where a captured step
        reads it; what refers to a batch of that epoch then changes."""
        self._reuse_plan = True

    def batch_at(self, positions: Tensor) -> Batch:
        """The batch of some positions (b,) int64 of the epoch that `train` is in."""
        assert self._plan is not None, "`train` comes first"
        return self._train_batch(self._plan, positions)

    def _load_plan(self, epoch: int) -> AugmentPlan:
        """The plan of an epoch, on the device."""
        plan = self._plans.take(epoch, self._draw_plan)
        if self._plan is not None and self._reuse_plan:
            self._plan.copy_(plan)
        else:
            self._plan = plan.to(self.device, torch.promote_types(self.dtype, torch.float32))
        return self._plan

    def evaluate(self, split: SplitName, batch_size: int = 512, limit: int | None = None) -> Iterator[Batch]:
        """This rank's share of a split, unaugmented; the ranks together see each image exactly once.

        Args:
            split: Which.
            batch_size: The most images at once.
            limit: Only a sample of so many images, the same for every epoch, seed and trial.
        """
        if (split, limit) not in self._evaluated:  # once: to copy them to a GPU waits for it
            self._evaluated[split, limit] = self._choose(split, limit).to(self.device)
        chosen = self._evaluated[split, limit]
        for start in range(0, len(chosen), batch_size):
            yield self._plain_batch(split, chosen[start : start + batch_size])

    def _choose(self, split: SplitName, limit: int | None) -> Tensor:
        """The positions of `evaluate` on this rank, (n,) int64."""
        count = len(getattr(self.data, split))
        chosen = torch.arange(count)
        if limit is not None and limit < count:
            chosen = torch.from_numpy(random_permutation(count, self.config.split_seed, SAMPLE)[:limit]).sort().values
        low, high = chunk_bounds(len(chosen), self.world, self.rank)
        return chosen[low:high]


class Feed(EpochFeed):
    """Batches of augmented images, (b, C, S, S); a GPU gets each split's pixels once per ImageSet."""

    def __init__(
        self,
        data: ImageSet,
        config: DataConfig,
        *,
        seed: int,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(data, config, seed=seed, device=device, rank=rank, world=world, dtype=dtype)
        self._normalise = Normalise(data.mean, data.std, data.image_size, device, dtype)
        for part in (data.train, data.val):  # at once: what is left is the model's
            _Pixels.cached(part, device)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.channels, self.data.image_size, self.data.image_size

    @property
    def resident(self) -> bool:
        pixels = _Pixels.cached(self.data.train, self.device)
        return pixels.images.device == pixels.labels.device

    def evaluation_size(self, micro_batch: int) -> int:
        if self.device.type == "cpu":  # more would leave its caches
            return max(1, min(512, 2 * micro_batch))
        return max(2 * micro_batch, min(EVALUATED, EVALUATED_BYTES // (4 * math.prod(self.shape))))

    def _draw_plan(self, epoch: int) -> AugmentPlan:
        return plan_epoch(self.augment, len(self.data.train), self.data.image_size, self.seed, epoch)

    def _plain_batch(self, split: SplitName, index: Tensor) -> Batch:
        pixels = _Pixels.cached(getattr(self.data, split), self.device)
        return Batch(self._finish(self._normalise(pixels.take(index))), pixels.labels[index], index)

    def _train_batch(self, plan: AugmentPlan, place: slice | Tensor) -> Batch:
        pixels, here = _Pixels.cached(self.data.train, self.device), plan.at(place)
        images = augment_batch(pixels.take(here.order), here, self.augment, self._normalise)
        labels = pixels.labels[here.order]
        if here.partner is None:
            return Batch(self._finish(images), labels, here.order)
        there = plan.at(here.partner)
        for some in cache_sized_portions(images, images.dtype):
            other = there.at(some)
            partners = augment_batch(pixels.take(other.order), other, self.augment, self._normalise)
            images[some] = mix_images(images[some], partners, here.at(some))
        return Batch(self._finish(images), labels, here.order, pixels.labels[there.order], here.share)

    def _finish(self, images: Tensor) -> Tensor:
        return images.to(self.dtype).permute(0, 3, 1, 2)  # (b, C, S, S), channels_last


class _Pixels:
    """A split's pixels and labels for a device: the memory map itself on a CPU, one upload where a GPU has room."""

    _known: ClassVar[WeakKeyDictionary[Split, dict[torch.device, _Pixels]]] = WeakKeyDictionary()

    def __init__(self, split: Split, device: torch.device) -> None:
        images: Tensor
        images, rows = flat_images(split.images), torch.from_numpy(split.rows)  # (M, S*S*C) uint8
        self.side, self.channels = split.images.shape[1], split.images.shape[3]
        if fits(len(rows) * images.shape[1], device):
            images, rows = upload(images, rows, device), torch.arange(len(rows), device=device)
        self.images, self.rows, self.device = images, rows, device
        self.labels = torch.from_numpy(split.labels).to(device)

    @classmethod
    def cached(cls, split: Split, device: torch.device) -> _Pixels:
        """The one copy for this split and device; it lives as long as the split does."""
        devices = cls._known.setdefault(split, {})
        if device not in devices:
            devices[device] = cls(split, device)
        return devices[device]

    def take(self, index: Tensor) -> Tensor:
        """(b, S, S, C) uint8 of some positions of the split."""
        # a GPU waits here for pixels that are not on it
        found = self.images.index_select(0, self.rows[index.to(self.rows.device)]).to(self.device)
        return found.view(len(index), self.side, self.side, self.channels)


def fits(size: int, device: torch.device) -> bool:
    """Whether `size` bytes of pixels are kept on `device`: a GPU's model needs RESERVED of its memory."""
    if device.type != "cuda":
        return device.type != "cpu"
    free, total = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return size < free + unused - RESERVED * total


def upload(images: Tensor, rows: Tensor, device: torch.device) -> Tensor:
    """The `rows` (N,) of (M, P) pixels on `device`, (N, P): a part at a time, for the host may not hold all."""
    found = torch.empty(len(rows), images.shape[1], dtype=images.dtype, device=device)
    step = max(1, UPLOADED // max(1, images.shape[1]))
    for start in range(0, len(rows), step):
        found[start : start + step] = images[rows[start : start + step]].to(device)
    return found


def chunk_bounds(count: int, parts: int, part: int, least: int = 1) -> tuple[int, int]:
    """The bounds of one part when `count` is cut into `parts` runs that differ by one at most, longer ones first.

    No run is shorter than `least` (unless `count` is): the last ones are empty instead.
    """
    filled = min(parts, max(1, count // least)) if least > 1 else parts
    shortest, longer = divmod(count, filled)
    low = min(count, part * shortest + min(part, longer))
    return low, min(count, low + shortest + (part < longer))
