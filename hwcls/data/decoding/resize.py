"""One image to the stored size: the short side scaled, the centre kept; large images a strip of rows at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

MAX_ASPECT = 8  # images with longer sides are cropped before they are scaled
STRIP = 1 << 20  # pixels that are scaled at once
Box = tuple[int, int, int, int]  # top, left, bottom, right


def resize_and_crop(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """The short side to `size` (bilinear, antialiased), then the centre: (B, C, H, W) uint8 to (B, C, size, size)."""
    height, width = pixels.shape[-2:]
    if (height, width) == (size, size):
        return pixels
    top, left, bottom, right = _kept_box(height, width)
    pixels = pixels[..., top:bottom, left:right]
    return _centre(_scale(pixels, _target(bottom - top, right - left, size)), size)


def resize_pixels(read: Callable[[Box], np.ndarray], height: int, width: int, size: int) -> np.ndarray:
    """As `resize_and_crop` for one image, of which `read` gives any part as (h, w, C) uint8: (size, size, C).

    Large images are scaled first in width, a strip of rows at a time, and then in height, as torch does it.
    """
    top, left, bottom, right = _kept_box(height, width)
    if (height, width) == (size, size):
        return read((0, 0, height, width))
    tall, wide = bottom - top, right - left
    target = _target(tall, wide, size)
    if tall * wide <= STRIP:
        scaled = _scale(_planes(read((top, left, bottom, right))), target)
    else:
        lines = max(1, STRIP // wide)
        strips = []
        for start in range(top, bottom, lines):
            stop = min(start + lines, bottom)
            strips.append(_scale(_planes(read((start, left, stop, right))), (stop - start, target[1])))
        scaled = _scale(torch.cat(strips, -2), target)
    found: np.ndarray = _centre(scaled, size)[0].permute(1, 2, 0).numpy()
    return found


def _kept_box(height: int, width: int) -> Box:
    """The centre of an image with a very long side: scaled as it is, a line of a million pixels takes all memory."""
    short = min(height, width)
    if max(height, width) <= MAX_ASPECT * short:
        return 0, 0, height, width
    tall, wide = (min(side, 2 * short + side % 2) for side in (height, width))  # about the same centre
    top, left = (height - tall) // 2, (width - wide) // 2
    return top, left, top + tall, left + wide


def _target(height: int, width: int, size: int) -> tuple[int, int]:
    short = min(height, width)
    return max(size, round(height * size / short)), max(size, round(width * size / short))


def _scale(pixels: torch.Tensor, target: tuple[int, int]) -> torch.Tensor:
    if tuple(pixels.shape[-2:]) == target:
        return pixels
    return torch.nn.functional.interpolate(pixels, target, mode="bilinear", antialias=True)


def _centre(scaled: torch.Tensor, size: int) -> torch.Tensor:
    top, left = (scaled.shape[-2] - size) // 2, (scaled.shape[-1] - size) // 2
    return scaled[..., top : top + size, left : left + size]


def _planes(pixels: np.ndarray) -> torch.Tensor:
    """(h, w, C) as (1, C, h, w)."""
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None]
