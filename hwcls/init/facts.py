"""What `hwcls init` looks at before it chooses: the images, and the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hwcls.config.data import DataConfig
from hwcls.config.sweep import ResourcesConfig
from hwcls.sweep.cluster.resources import choose_resources, this_machine

FEW = 50  # training images of each class


@dataclass(frozen=True)
class DataFacts:
    """What is known of a data set before it is decoded.

    Attributes:
        counts: By split, the images of each class in the order of `classes`.
        cut: The splits that the data does not have, so that they are cut off train.
        sides: The short sides of the training images in pixels: the least, the median, the largest.
        square: The side that all images have in common; None where they have not.
        found: How the files were read, in sentences.
    """

    classes: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    cut: tuple[str, ...]
    sides: tuple[int, int, int]
    square: int | None
    found: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """The images of train, after val and test were cut off."""
        return sum(self.counts["train"])

    @property
    def is_small(self) -> bool:
        """Whether there are so few images of each class that each decides much."""
        return self.images < FEW * len(self.classes)

    @property
    def extremes(self) -> tuple[int, int]:
        """The training images of the smallest and of the largest class."""
        return min(self.counts["train"]), max(self.counts["train"])

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
    """

    cpus: int
    gpus: int
    concurrent: int

    def __str__(self) -> str:
        gpus = f" and {self.gpus} GPU{'s' * (self.gpus > 1)}" if self.gpus else ""
        at_once = "one trial" if self.concurrent == 1 else f"{self.concurrent} trials"
        return f"{self.cpus} CPU core{'s' * (self.cpus > 1)}{gpus or ', no GPU'}: {at_once} at once"


def look_at_data(config: DataConfig) -> DataFacts:
    """Read which images there are, and the sizes of some of them; nothing is decoded.

    Raises:
        UserError: The data cannot be read, or has too few images to split.
    """
    from hwcls.data.decoding.decode import sample_sizes
    from hwcls.data.imageset import count_images
    from hwcls.data.store import read_raw_data

    raw = read_raw_data(config)
    classes, counts = count_images(config)
    sizes = sample_sizes(raw.splits["train"].images)
    return DataFacts(
        classes=classes,
        counts={split: tuple(found) for split, found in counts.items()},
        cut=tuple(split for split in ("val", "test") if split not in raw.splits),
        sides=sizes.short_sides,
        square=sizes.shared_side,
        found=raw.found,
    )


def look_at_machine() -> MachineFacts:
    """The machine as a sweep without `resources` uses it."""
    machine = this_machine()
    chosen = choose_resources(ResourcesConfig(), machine, "")
    return MachineFacts(int(machine.cpus), int(machine.gpus), chosen.concurrent)
