"""What `hwcls init` looks at before it chooses: the images, and the machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from hwcls.config.sweep import ResourcesConfig
from hwcls.data.decoding.image_sizes import ImageSizes
from hwcls.data.formats.raw import RawData
from hwcls.data.imageset import ImageSet
from hwcls.format import format_count
from hwcls.results.notes.test_size import split_notes
from hwcls.sweep.cluster.resources import choose_resources, this_machine

FEW = 50  # training images of each class


@dataclass(frozen=True)
class DataFacts:
    """What is known of a data set.

    Attributes:
        counts: By split, the images of each class in the order of `classes`.
        cut: The share of each split that the data does not have, so that it is cut off train.
        sides: The short sides of the training images' files in pixels: the least, the median, the largest.
        square: The side that all files have in common; None where they have not.
        groups, copies: Groups of several images, and images that are a copy of another one: none is split.
        found: How the files were read, in sentences.
        layout: The table and its columns that say the labels, as a sweep file names them; empty where none does.
        notes: What a user should know of the splits.
    """

    classes: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    cut: Mapping[str, float]
    sides: tuple[int, int, int]
    square: int | None
    groups: int = 0
    copies: int = 0
    found: tuple[str, ...] = ()
    layout: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """The images of train, after val and test were cut off."""
        return sum(self.counts["train"])

    @property
    def is_small(self) -> bool:
        """Whether there are so few images of each class that each decides much."""
        return self.images < FEW * len(self.classes)

    @property
    def per_class(self) -> tuple[int, ...]:
        """The training images of each class, with those that are cut off as val."""
        val = self.counts["val"] if "val" in self.cut else (0,) * len(self.classes)
        return tuple(map(sum, zip(self.counts["train"], val, strict=True)))

    @property
    def extremes(self) -> tuple[int, int]:
        """The training images of the smallest and of the largest class."""
        return min(self.per_class), max(self.per_class)

    @property
    def unevenness(self) -> float:
        """How many times as many training images the largest class has as the smallest one."""
        least, most = self.extremes
        return most / max(least, 1)


@dataclass(frozen=True)
class MachineFacts:
    """What trains: the trials that run at once, and where.

    Attributes:
        concurrent: Trials at once.
        load: Programs that want a CPU core now, on average over a minute; 0 where that is not known.
    """

    cpus: int
    gpus: int
    concurrent: int
    load: float = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether other programs take half of the CPU cores or more."""
        return self.load >= self.cpus / 2

    def __str__(self) -> str:
        gpus = f" and {format_count(self.gpus, 'GPU')}" if self.gpus else ", no GPU"
        at_once = "one trial" if self.concurrent == 1 else f"{self.concurrent} trials"
        return f"{format_count(self.cpus, 'CPU core')}{gpus}: {at_once} at once"


def describe_data(raw: RawData, sizes: ImageSizes, opened: ImageSet) -> DataFacts:
    """The facts of an opened data set, and of its files before they were decoded."""
    counts, sides = opened.counts(), sizes.short_sides or [sizes.short_side]
    return DataFacts(
        classes=opened.classes,
        counts={split: tuple(found) for split, found in counts.items()},
        cut=opened.origin.shares,
        sides=(sides[0], sizes.short_side, sides[-1]),
        square=sizes.shared_side,
        groups=opened.origin.groups,
        copies=opened.origin.copies,
        found=raw.found,
        layout=raw.layout,
        notes=(*opened.origin.notes, *split_notes(opened.name, opened.classes, counts)),
    )


def look_at_machine() -> MachineFacts:
    """The machine as a sweep without `resources` uses it."""
    machine = this_machine()
    chosen = choose_resources(ResourcesConfig(), machine, "")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return MachineFacts(int(machine.cpus), int(machine.gpus), chosen.concurrent, round(load, 1))
