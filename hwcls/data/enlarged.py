"""Pixels that are enlarged when they are read: small images need no store of the size of a large input."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from hwcls.data.decoding.resizing import Resizing

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class EnlargedImages:
    """Reads like an array (M, size, size, C) uint8 of what decoding to that size would give; indexed along M.

    Args:
        pixels: (M, S, S, C) uint8, memory-mapped.
        size: The side of what is read.
    """

    pixels: np.ndarray
    size: int
    resizing: Resizing

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self), self.size, self.size, self.pixels.shape[3]

    @property
    def nbytes(self) -> int:
        """What is kept of them."""
        return self.pixels.nbytes

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: Any) -> np.ndarray:
        import torch

        from hwcls.data.decoding.resize import resize_batch

        found = np.array(self.pixels[rows])
        batch = torch.from_numpy(found.reshape(-1, *self.pixels.shape[1:])).permute(0, 3, 1, 2)
        enlarged = resize_batch(batch, self.size, self.resizing).permute(0, 2, 3, 1).numpy()
        return np.ascontiguousarray(enlarged.reshape(*found.shape[:-3], *self.shape[1:]))


def flat_images(images: np.ndarray | EnlargedImages) -> torch.Tensor:
    """Images as rows of a tensor (M, S*S*C) uint8; enlarged ones as what can be indexed by rows as such a tensor."""
    import torch

    if isinstance(images, np.ndarray):
        with warnings.catch_warnings():  # the map is read-only, and nothing writes to it
            warnings.simplefilter("ignore")
            return torch.from_numpy(images).view(len(images), -1)
    return cast(torch.Tensor, _EnlargedRows(images))


class _EnlargedRows:
    """What a loader uses of a tensor of pixels."""

    def __init__(self, images: EnlargedImages) -> None:
        import torch

        self.images, self.device, self.dtype = images, torch.device("cpu"), torch.uint8
        self.shape = (len(images), images.size**2 * images.shape[3])

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.from_numpy(self.images[rows.numpy()]).view(len(rows), -1)

    def index_select(self, dim: int, rows: torch.Tensor) -> torch.Tensor:
        assert dim == 0
        return self[rows]
