"""An opened data set: its splits as rows of memory-mapped pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, Literal, get_args

import numpy as np

from hwcls.config.data import AugmentConfig, DataConfig, Interpolation, Mean, Resize, Std, fit_channels
from hwcls.data.catalog import find_data_set
from hwcls.data.cuts.cut import Listing, Origin, select_images
from hwcls.data.cuts.index import compares_images, has_index, open_index
from hwcls.data.decoding.pixel_range import PixelRange
from hwcls.data.decoding.resizing import Resizing
from hwcls.data.enlarged import EnlargedImages
from hwcls.data.formats.image_types import nfc
from hwcls.data.progress import ProgressReporter
from hwcls.data.store import PixelStore, has_pixel_store, open_pixel_store, read_raw_data
from hwcls.errors import UserError
from hwcls.format import format_count


@dataclass(frozen=True, eq=False)
class Split:
    """Some images of a store, in order.

    Attributes:
        images: (M, H, W, C) uint8, memory-mapped read-only, or enlarged when they are read; splits share it.
        labels: (N,) int64, of this split.
        rows: (N,) int64, the rows of `images` that belong to it, ascending.
    """

    images: np.ndarray | EnlargedImages
    labels: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class InputSpec:
    """What a trained model depends on.

    Attributes:
        mean, std: Per channel, of pixels / 255, by which they are normalised: of the training pixels, or what
            pretrained weights expect.
        pixel_range: What became 0 and 255 in images of more than 8 bits; None where no training image has them.
        resize: What becomes of the long side of images that are not square.
        interpolation: Of the resize, which is antialiased.
        crop_pct: The share of the resized side that is kept, its centre; 1: all of it.
    """

    name: str
    classes: tuple[str, ...]
    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pixel_range: PixelRange | None = field(default=None, kw_only=True)
    resize: Resize = field(default="crop", kw_only=True)
    interpolation: Interpolation = field(default="bilinear", kw_only=True)
    crop_pct: float = field(default=1.0, kw_only=True)

    @property
    def resizing(self) -> Resizing:
        """How an image is resized."""
        return Resizing(self.resize, self.interpolation, self.crop_pct)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        values = {field.name: getattr(self, field.name) for field in fields(InputSpec)}
        return values | {"pixel_range": self.pixel_range and self.pixel_range.to_dict()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> InputSpec:
        """Read `to_dict`'s output; raises KeyError, TypeError, ValueError."""
        mean, std = (tuple(map(float, value[key])) for key in ("mean", "std"))
        classes = tuple(nfc(str(name)) for name in value["classes"])  # earlier versions kept each spelling
        size, channels = int(value["image_size"]), int(value["channels"])
        pixel_range = PixelRange.from_dict(value.get("pixel_range"))  # earlier versions wrote none
        # earlier versions only cropped, and resized bilinearly
        resize, interpolation = value.get("resize", "crop"), value.get("interpolation", "bilinear")
        for key, one, known in (("resize", resize, Resize), ("interpolation", interpolation, Interpolation)):
            if one not in get_args(known):
                raise ValueError(f"unknown {key} {one!r}")
        return cls(
            *(str(value["name"]), classes, size, channels, mean, std),
            pixel_range=pixel_range,
            resize=resize,
            interpolation=interpolation,
            crop_pct=float(value.get("crop_pct", 1.0)),
        )


@dataclass(frozen=True, eq=False)
class ImageSet(InputSpec):
    """A data set as a trial sees it."""

    train: Split
    val: Split
    test: Split
    augment: AugmentConfig  # the data set's default, used where the config has none
    origin: Origin = field(default=Origin({}, 0), kw_only=True)  # of test and val
    moments: tuple[tuple[float, ...], ...] = field(
        default=(), kw_only=True
    )  # mean and std of the training pixels / 255
    found: tuple[str, ...] = field(default=(), kw_only=True)  # how a user's files were read, in sentences
    title: str = field(default="", kw_only=True)  # what it is called on the terminal
    path: str | None = field(default=None, kw_only=True)  # of a user's own files
    store: str = field(default="", kw_only=True)  # what identifies its pixels

    def counts(self) -> dict[str, list[int]]:
        """The images of each class, in the order of `classes`, by split."""
        parts = {"train": self.train, "val": self.val, "test": self.test}
        return {name: np.bincount(part.labels, minlength=len(self.classes)).tolist() for name, part in parts.items()}

    @property
    def normalised_by(self) -> Literal["images", "given"]:
        """Whether mean and std are those of the training images, or given, as pretrained weights expect them."""
        return "images" if (self.mean, self.std) == self.moments else "given"

    @property
    def decoded_bytes(self) -> int:
        """What the pixels of all splits take on the disk."""
        arrays = {id(part.images): part.images.nbytes for part in (self.train, self.val, self.test)}
        return sum(arrays.values())

    def split_digest(self) -> str:
        """A hash of the classes and of which image is in which split: equal where two nodes split alike."""
        digest = hashlib.blake2b(repr(self.classes).encode(), digest_size=16)
        for part in (self.train, self.val, self.test):
            digest.update(np.ascontiguousarray(part.rows).tobytes())
            digest.update(np.ascontiguousarray(part.labels).tobytes())
        return digest.hexdigest()

    def facts(self) -> dict[str, Any]:
        """What a trial of this data depends on, as JSON-ready values; data.json keeps it.

        `without` names the classes that have no image in val and in test: nothing judges them there.
        """
        counts = self.counts()
        return {
            **self.to_dict(),
            **({} if self.path is None else {"path": self.path}),
            "normalised_by": self.normalised_by,
            "classes": list(self.classes),
            "per_class": [min(counts["train"]), max(counts["train"])],
            **{split: sum(found) for split, found in counts.items()},
            "images_per_class": counts,
            "without": {split: _classes_without(self.classes, counts[split]) for split in ("val", "test")},
            **({"found": list(self.found)} if self.found else {}),
            **self.origin.facts(),
            "augment": self.augment.model_dump(mode="json", exclude={"label"}),
        }


def open_data(config: DataConfig, report: ProgressReporter | None = None) -> ImageSet:
    """Open a data set, building its store on first use.

    Args:
        config: Which data set and which part of it, and its split; `batch_size` and `augment` are ignored.
        report: Called with one line now and then while the store is built.

    Raises:
        UserError: The data set or a class is unknown, files are missing or damaged, or no image is left.
    """
    store = open_pixel_store(config, report)
    labels = {split: np.asarray(store.array(split, "labels")) for split in store.splits}
    names = tuple(store.meta["classes"])
    digests = partial(store.array, "train", "digests")
    selected = select_images(names, labels, config, partial(_list_images, config, store.splits, digests, report))
    images, rows = {split: store.images(split) for split in store.splits}, selected.rows

    def split(name: str) -> Split:
        source = name if name in images else "train"
        if not len(rows[name]):
            raise UserError(f"no image of these classes in {source}", where="data.classes", remedy="name other classes")
        return Split(images[source], selected.renumber[labels[source][rows[name]]], rows[name])

    moments = _channel_moments(store, rows["train"])
    channels, resizing = store.meta["channels"], Resizing.of(config)
    return ImageSet(
        name=config.name,
        classes=tuple(names[i] for i in selected.classes),
        image_size=store.image_size,
        channels=channels,
        mean=_per_channel("mean", config.mean, moments[0], channels),
        std=_per_channel("std", config.std, moments[1], channels),
        train=split("train"),
        val=split("val"),
        test=split("test"),
        augment=find_data_set(config.name).augment,
        pixel_range=store.pixel_range,
        origin=selected.origin,
        resize=config.resize,
        interpolation=resizing.interpolation,
        crop_pct=resizing.crop_pct,
        moments=moments,
        found=tuple(store.meta.get("found", ())),
        title=config.title,
        path=config.path,
        store=store.key,
    )


def count_images(
    config: DataConfig, report: ProgressReporter | None = None
) -> tuple[tuple[str, ...], dict[str, list[int]]]:
    """The classes, and the images of each by split, without decoding: exact copies count as different images then.

    Raises:
        UserError: As `open_data` does.
    """
    if is_prepared(config):
        opened = open_data(config, report)
        return opened.classes, opened.counts()
    raw = read_raw_data(config)
    labels = {split: part.labels for split, part in raw.splits.items()}
    distinct = partial(np.arange, len(labels["train"]))
    selected = select_images(raw.classes, labels, config, partial(_list_images, config, raw.splits, distinct, report))
    counts = {}
    for split in ("train", "val", "test"):
        found = selected.renumber[labels.get(split, labels["train"])[selected.rows[split]]]
        counts[split] = np.bincount(found, minlength=len(selected.classes)).tolist()
    return tuple(raw.classes[i] for i in selected.classes), counts


def is_prepared(config: DataConfig) -> bool:
    """Whether `open_data` needs neither to fetch nor to decode nor to compare images on this node."""
    if not has_pixel_store(config):
        return False
    splits = open_pixel_store(config).splits
    return not (compares_images(config) and {"val", "test"} - set(splits)) or has_index(config)


def _list_images(
    config: DataConfig, splits: Collection[str], digests: Callable[[], np.ndarray], report: ProgressReporter | None
) -> Listing:
    """What a cut knows of the training images of a data set that has these splits; copies have equal digests."""
    if compares_images(config):
        return open_index(config, report).listing(config)
    if "test" not in splits or find_data_set(config.name).user_files:
        raw = read_raw_data(config)
        groups = raw.groups["train"] if raw.groups is not None else None
        if "test" not in splits or groups is not None:
            return Listing(raw.image_names("train"), digests(), groups)
    return Listing(None, digests())


def _channel_moments(store: PixelStore, rows: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of pixels / 255 of the training rows alone, from exact integer sums."""
    first, second = np.asarray(store.array("train", "sums"))[rows].sum(0)  # (C,) each
    count = len(rows) * store.meta["image_size"] ** 2
    mean = first / count
    std = np.sqrt(np.maximum(second / count - mean**2, 1.0))  # a channel of one colour is not divided by zero
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


def _per_channel(key: str, asked: Mean | Std | None, of_images: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """The mean or std that images are normalised by: their own where a config does not give it."""
    if asked is None or isinstance(asked, str):
        return of_images
    if len(asked) < channels:
        what = f"{key} has {len(asked)} number for images of {format_count(channels, 'channel')}"
        raise UserError(what, where=f"data.{key}", remedy=f"give {channels}, one for each channel")
    return fit_channels(asked, channels)


def describe_unjudged(classes: Sequence[str], counts: Mapping[str, Sequence[int]]) -> list[str]:
    """A note for val and one for test where some classes have no image; `counts` as `ImageSet.counts` has them."""
    notes, train = [], dict(zip(classes, counts["train"], strict=True))
    for split in ("val", "test"):
        if none := [f"{name} ({train[name]:,} in train)" for name in _classes_without(classes, counts[split])]:
            some = ", ".join(none[:5]) + (f" and {format_count(len(none) - 5, 'other')}" if none[5:] else "")
            remedy = f"no {split} metric judges {'it' if len(none) == 1 else 'them'}; add some, or choose data.classes"
            notes.append(f"no {split} image of {some}: {remedy}")
    return notes


def _classes_without(classes: Sequence[str], counts: Sequence[int]) -> list[str]:
    return [name for name, count in zip(classes, counts, strict=True) if not count]
