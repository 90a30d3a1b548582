"""Raw data before decoding: images as files or pixels, and their labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hwcls.data.formats.archive import FileTree
from hwcls.data.formats.image_types import LeftOut
from hwcls.errors import UserError

if TYPE_CHECKING:
    import numpy as np


class UnusableImagesError(UserError):
    """Images that cannot be decoded, however often they are read: their files have to change."""


@dataclass(frozen=True)
class EncodedImages:
    """Encoded image files of `tree`, in order."""

    tree: FileTree
    names: list[str]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class RawSplit:
    """One split: decoded pixels (N, H, W, C) uint8 or encoded files, and labels (N,) int64."""

    images: np.ndarray | EncodedImages
    labels: np.ndarray


@dataclass(frozen=True)
class RawData:
    """A data set before decoding.

    Attributes:
        splits: train, test and perhaps val; train alone where nothing says what is test.
        other_files: What was read besides image files, by names in the tree.
        left_out: Files that are ignored, and why: not images by their ending, or not in a class folder.
        groups: By split, (N,) str: images of one group belong into one split, "" is none; None where there are none.
        found: How a user's own data was read, in plain sentences.
        layout: The table and its columns that were read, as a sweep file names them; empty where no one table says all.
        plain: Whether the names of the files alone say class and split; else an import writes a table of them.
    """

    classes: tuple[str, ...]
    splits: dict[str, RawSplit]
    other_files: tuple[str, ...] = ()
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    groups: Mapping[str, np.ndarray] | None = None
    found: tuple[str, ...] = ()
    plain: bool = True
    layout: Mapping[str, str] = field(default_factory=dict)

    @property
    def image_files(self) -> EncodedImages | None:
        """Every image file of every split; None where the pixels are decoded already."""
        parts = [split.images for split in self.splits.values() if isinstance(split.images, EncodedImages)]
        return EncodedImages(parts[0].tree, [name for part in parts for name in part.names]) if parts else None

    def image_names(self, split: str) -> list[str]:
        """The names of all images of a split, as of `image_name`."""
        images = self.splits[split].images
        return [self.image_name(split, row) for row in range(len(images))]

    def image_name(self, split: str, row: int) -> str:
        """An image's file name, or `train image 7` where it has none."""
        images = self.splits[split].images
        return images.names[row] if isinstance(images, EncodedImages) else f"{split} image {row}"
