"""An opened data set: its splits as rows of memory-mapped pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from hwcls.config.data import AugmentConfig, DataConfig
from hwcls.data import splits
from hwcls.data.catalog import find_data_set
from hwcls.data.progress import ProgressReporter
from hwcls.data.store import PixelStore, open_pixel_store
from hwcls.errors import UserError


@dataclass(frozen=True, eq=False)
class Split:
    """Some images of a store, in order.

    Attributes:
        images: (M, H, W, C) uint8, memory-mapped copy-on-write; splits share it.
        labels: (N,) int64, of this split.
        rows: (N,) int64, the rows of `images` that belong to it, ascending.
    """

    images: np.ndarray
    labels: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class InputSpec:
    """What a trained model depends on; `mean` and `std` are per channel, of the training pixels / 255."""

    name: str
    classes: tuple[str, ...]
    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {field.name: getattr(self, field.name) for field in fields(InputSpec)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> InputSpec:
        """Read `to_dict`'s output; raises KeyError, TypeError."""
        mean, std = (tuple(map(float, value[key])) for key in ("mean", "std"))
        classes, size, channels = tuple(map(str, value["classes"])), int(value["image_size"]), int(value["channels"])
        return cls(str(value["name"]), classes, size, channels, mean, std)


@dataclass(frozen=True, eq=False)
class ImageSet(InputSpec):
    """A data set as a trial sees it."""

    train: Split
    val: Split
    test: Split
    augment: AugmentConfig  # the data set's default, used where the config has none


def open_data(config: DataConfig, report: ProgressReporter | None = None) -> ImageSet:
    """Open a data set, building its store on first use.

    Args:
        config: Which data set and which part of it, and its split; `batch_size` and `augment` are ignored.
        report: Called with one line now and then while the store is built.

    Raises:
        UserError: The data set or a class is unknown, files are missing or damaged, or no image is left.
    """
    store = open_pixel_store(config, report)
    names = tuple(store.meta["classes"])
    chosen = splits.select_classes(names, config.classes)
    renumber = np.full(len(names), -1, np.int64)
    renumber[chosen] = np.arange(len(chosen))

    labels = {split: np.asarray(store.array(split, "labels")) for split in store.splits}
    rows = {split: np.flatnonzero(renumber[labels[split]] >= 0) for split in store.splits}
    kept = splits.take_subset(labels["train"], rows["train"], config.split_seed, config.per_class, config.fraction)
    if "val" in rows:
        train, val = kept, rows["val"]
    else:
        digests = np.asarray(store.array("train", "digests"))
        train, val = splits.split_with_copies_together(labels["train"], kept, digests, config.val, config.split_seed)
    held_out = "val" if "val" in rows else "train"
    images = {split: store.array(split, "images") for split in store.splits}

    def split(name: str, rows: np.ndarray) -> Split:
        if not len(rows):
            raise UserError(f"no image of these classes in {name}", where="data.classes", remedy="name other classes")
        return Split(images[name], renumber[labels[name][rows]], rows)

    mean, std = _channel_moments(store, train)
    return ImageSet(
        name=config.name,
        classes=tuple(names[i] for i in chosen),
        image_size=store.meta["image_size"],
        channels=store.meta["channels"],
        mean=mean,
        std=std,
        train=split("train", train),
        val=split(held_out, val),
        test=split("test", rows["test"]),
        augment=find_data_set(config.name).augment,
    )


def _channel_moments(store: PixelStore, rows: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of pixels / 255 of the training rows alone, from exact integer sums."""
    first, second = np.asarray(store.array("train", "sums"))[rows].sum(0)  # (C,) each
    count = len(rows) * store.meta["image_size"] ** 2
    mean = first / count
    std = np.sqrt(np.maximum(second / count - mean**2, 1.0))  # a channel of one colour is not divided by zero
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())
