"""Batches of cached features for one rank, in place of images."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import ClassVar, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from hwcls.config.data import AugmentConfig
from hwcls.config.trial import TrialConfig
from hwcls.data.augment.parameters import AugmentPlan, plan_epoch
from hwcls.data.imageset import ImageSet, Split
from hwcls.data.loader import Batch, EpochFeed, SplitName, images_at, most_images
from hwcls.data.transfer.pixels import ON_HOST
from hwcls.data.transfer.staging import Stage
from hwcls.data.transfer.upload import try_upload
from hwcls.errors import UserError
from hwcls.training.distributed import World

EVALUATED = 4096  # images at once: their features take little memory
VIEW = 6  # stream of (seed, epoch) that draws each image's view


class FeatureSource(Protocol):
    """Where features are read."""

    def read(self, split: str, view: int = 0) -> np.ndarray:
        """(M, F) float16 of all images of a split's store, of which those of the split are valid."""
        ...


class FeatureFeed(EpochFeed):
    """Batches of features, (b, F): in each epoch an image has one of its views, drawn anew; evaluation has view 0.

    The order of an epoch, the partners and the shares of mixup are those of images, so that a head gets the same
    images in the same order whether its features are cached or not.

    Args:
        config: The trial, with cached features.
        data: Its images.
        source: Of the features; a GPU gets those of train once, for all trials that use them one after the other.
        world: This rank.
        dtype: Of the batches.

    Raises:
        UserError: As EpochFeed does, and for an augmentation that features cannot have.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: ImageSet,
        source: FeatureSource,
        world: World,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        rank = {"device": world.device, "rank": world.rank, "world": world.size}
        super().__init__(data, config.data, seed=config.seed, dtype=dtype, **rank)  # type: ignore[arg-type]
        if self.augment.cutmix:
            remedy = "use mixup, or set model.features: live"
            raise UserError("cutmix needs pixels, not features", where="data.augment.cutmix", remedy=remedy)
        self.source, self.views = source, config.cached_views(data.augment) or 1
        self._parts: dict[SplitName, _Features] = {}
        for split in ("train", "val"):  # at once: what is missing is said before the first step
            self._part(split)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self._part("train").width,)

    @property
    def resident(self) -> bool:
        return self._part("train").resident

    def evaluation_size(self, micro_batch: int) -> int:
        return EVALUATED

    def _draw_plan(self, epoch: int) -> AugmentPlan:
        count = len(self.data.train)
        plan = plan_epoch(AugmentConfig(mixup=self.augment.mixup), count, self.data.image_size, self.seed, epoch)
        if self.views > 1:
            view = np.random.Generator(np.random.PCG64([self.seed, epoch, VIEW])).integers(self.views, size=count)
            plan.view = torch.from_numpy(view)[plan.order]
        return plan

    def _train_batch(self, plan: AugmentPlan, place: slice | Tensor, staged: Tensor | None = None) -> Batch:
        part, here = self._part("train"), plan.at(place)
        count = len(here.order)
        own = part.take(here.order, here.view) if staged is None else staged[:count]
        features, labels = own.to(self.dtype, copy=True), part.labels[here.order]  # a stage reuses its memory
        if here.partner is None or here.blend is None:
            return Batch(features, labels, here.order)
        there, weight = plan.at(here.partner), here.blend[:, None].to(self.dtype)  # (b, 1)
        partners = part.take(there.order, there.view) if staged is None else staged[count:]
        features = features * weight + partners.to(self.dtype) * (1 - weight)
        return Batch(features, labels, here.order, part.labels[there.order], here.share)

    def _plain_batch(self, split: SplitName, index: Tensor, staged: Tensor | None = None) -> Batch:
        part = self._part(split)
        features = part.take(index, None) if staged is None else staged
        return Batch(features.to(self.dtype, copy=True), part.labels[index], index)

    def _stage_epoch(self, plan: AugmentPlan, places: Sequence[slice]) -> Stage | None:
        part = self._part("train")
        places_of = AugmentPlan(part.places(plan.order, plan.view), partner=plan.partner)
        return part.stage((images_at(places_of, place) for place in places), most_images(plan, places))

    def _stage_split(self, split: SplitName, batches: Sequence[Tensor]) -> Stage | None:
        return self._part(split).stage(batches, max(map(len, batches)))

    def _part(self, split: SplitName) -> _Features:
        if split not in self._parts:
            arrays = [self.source.read(split, view) for view in range(self.views if split == "train" else 1)]
            self._parts[split] = _Features.cached(getattr(self.data, split), arrays, self.device)
        return self._parts[split]


class _Features:
    """A split's features in all views for a device: the memory maps on a CPU, one upload where a GPU has room."""

    _uploaded: ClassVar[WeakKeyDictionary[Split, tuple[object, _Features]]] = WeakKeyDictionary()  # the latest ones

    def __init__(self, split: Split, arrays: Sequence[np.ndarray], device: torch.device) -> None:
        self.count, self.width, self.device = len(split), arrays[0].shape[1], device
        with warnings.catch_warnings():  # the maps are read-only, and nothing writes to them
            warnings.simplefilter("ignore")
            self.views = [torch.from_numpy(array) for array in arrays]  # (M, F) each
        self.rows = torch.from_numpy(split.rows)
        self.labels = torch.from_numpy(split.labels).to(device)
        uploaded = try_upload(self.views, self.rows, device)
        if uploaded is not None:
            self.views = [uploaded]  # (V * N, F)
        self.uploaded = uploaded is not None
        self.resident = self.uploaded or device.type in ON_HOST

    @classmethod
    def cached(cls, split: Split, arrays: Sequence[np.ndarray], device: torch.device) -> _Features:
        """The features of these files on a device; a GPU keeps those that were used last."""
        if device.type == "cpu":
            return cls(split, arrays, device)
        key = device, tuple((str(getattr(array, "filename", id(array))), array.shape) for array in arrays)
        if split in cls._uploaded and cls._uploaded[split][0] != key:
            del cls._uploaded[split]  # its memory is free before more is taken
        if split not in cls._uploaded:
            cls._uploaded[split] = key, cls(split, arrays, device)
        return cls._uploaded[split][1]

    def take(self, index: Tensor, view: Tensor | None) -> Tensor:
        """(b, F) float16 of some positions of the split, each in its view; None: of the plain images."""
        places = self.places(index, view)
        if self.uploaded:
            return self.views[0].index_select(0, places)
        found = torch.empty(len(index), self.width, dtype=self.views[0].dtype)
        self._read(places.to(found.device), found)
        return found.to(self.device)

    def places(self, index: Tensor, view: Tensor | None) -> Tensor:
        """Where among V * N features those of some positions are, (b,); view None: those of the plain images."""
        return index if view is None else view * self.count + index

    def stage(self, requests: Iterable[Tensor], largest: int) -> Stage | None:
        """What makes batches of `places` (b,) on the CPU ready in advance, (b, F); None where `take` does not wait.

        `largest` is the length of the longest; 0: there are none.
        """
        if self.resident or not largest:
            return None
        return Stage(self._read, requests, (largest, self.width), self.views[0].dtype, self.device)

    def _read(self, places: Tensor, out: Tensor) -> None:
        """Write the features at `places` (b,) of the memory maps to `out`, (b, F)."""
        rows, views = self.rows[places % self.count], places // self.count
        if len(self.views) == 1:
            torch.index_select(self.views[0], 0, rows, out=out)
            return
        for number, features in enumerate(self.views):
            some = (views == number).nonzero()[:, 0]
            out[some] = features.index_select(0, rows[some])
