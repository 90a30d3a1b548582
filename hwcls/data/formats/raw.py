"""Raw data as found on disk, before decoding: images, labels, and where their bytes are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwcls.data.formats.archive import Tree


@dataclass(frozen=True)
class Encoded:
    """Images that are still files of `tree`, in order."""

    tree: Tree
    names: list[str]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class RawSplit:
    """One split: decoded pixels (N, H, W, C) uint8 or encoded files, and labels (N,) int64."""

    images: np.ndarray | Encoded
    labels: np.ndarray


@dataclass(frozen=True)
class Raw:
    """A data set before decoding.

    Attributes:
        splits: train, test and perhaps val.
        read: The files besides `files` that were read, by their names in the tree.
        passed_over: Files where images are expected that are none by their ending, or lie in no class folder.
    """

    classes: tuple[str, ...]
    splits: dict[str, RawSplit]
    read: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()

    @property
    def files(self) -> Encoded | None:
        """Every image file of every split; None where the pixels are here already."""
        parts = [split.images for split in self.splits.values() if isinstance(split.images, Encoded)]
        return Encoded(parts[0].tree, [name for part in parts for name in part.names]) if parts else None

    def name(self, split: str, row: int) -> str:
        """An image's file name, or `train image 7` where it has none."""
        images = self.splits[split].images
        return images.names[row] if isinstance(images, Encoded) else f"{split} image {row}"
