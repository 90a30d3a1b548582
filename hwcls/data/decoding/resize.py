"""One image to the stored square: cropped, squashed or padded; large images are scaled a strip of rows at a time.

- crop (the default): the short side to the size, then the centre: shapes keep, what lies at the ends is lost.
- squash: both sides to the size: nothing is lost, shapes are distorted.
- pad: the long side to the size, and FILL beside it: nothing is lost or distorted, the image is smaller.

With a `crop_pct` below 1 the image is scaled to a larger square, as timm does it, of which the centre is kept.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from hwcls.config.data import Resize
from hwcls.data.decoding.resizing import USUAL, Resizing

MAX_ASPECT = 8  # images with longer sides are cropped before they are scaled, or scaled along them first
STRIP = 1 << 20  # pixels that are scaled at once
# YOLO's grey, which is also ImageNet's mean. After normalisation it is near 0, as the zeros that convolutions pad with:
# an edge to black is the strongest one in most photos. The data set's own mean is known only after it is decoded
FILL = 114
Box = tuple[int, int, int, int]  # top, left, bottom, right


def resize_batch(pixels: torch.Tensor, size: int, resizing: Resizing = USUAL) -> torch.Tensor:
    """(B, C, H, W) uint8 to (B, C, size, size)."""
    height, width = pixels.shape[-2:]
    how, side = resizing.how, resizing.scaled_side(size)
    top, left, bottom, right = _kept_box(height, width, how)
    pixels = pixels[..., top:bottom, left:right]
    target = _target(bottom - top, right - left, side, how)
    if _rows_first(height, width, how):
        pixels = _scale(pixels, (side, width), resizing)
    return _fit(_scale(pixels, target, resizing), size)


def resize_pixels(
    read: Callable[[Box], np.ndarray], height: int, width: int, size: int, resizing: Resizing = USUAL
) -> np.ndarray:
    """As `resize_batch` for one image, of which `read` gives any part as (h, w, C) uint8: (size, size, C).

    Large images are scaled first in width, a strip of rows at a time, and then in height, as torch does it.
    """
    how, side = resizing.how, resizing.scaled_side(size)
    top, left, bottom, right = _kept_box(height, width, how)
    if (height, width) == (side, side):
        start = (side - size) // 2
        return read((start, start, start + size, start + size))
    tall, wide = bottom - top, right - left
    target = _target(tall, wide, side, how)
    if _rows_first(height, width, how):
        columns = max(1, STRIP // height)
        boxes = [(0, start, height, min(start + columns, width)) for start in range(0, width, columns)]
        parts = [_scale(_planes(read(box)), (side, box[3] - box[1]), resizing) for box in boxes]
        scaled = torch.cat(parts, -1)
    elif tall * wide <= STRIP:
        scaled = _planes(read((top, left, bottom, right)))
    else:
        lines = max(1, STRIP // wide)
        boxes = [(start, left, min(start + lines, bottom), right) for start in range(top, bottom, lines)]
        parts = [_scale(_planes(read(box)), (box[2] - box[0], target[1]), resizing) for box in boxes]
        scaled = torch.cat(parts, -2)
    found: np.ndarray = _fit(_scale(scaled, target, resizing), size)[0].permute(1, 2, 0).numpy()
    return found


def _kept_box(height: int, width: int, how: Resize) -> Box:
    """What is scaled; of an image with a very long side that is cropped anyway the centre, as the rest takes memory."""
    short = min(height, width)
    if how != "crop" or max(height, width) <= MAX_ASPECT * short:
        return 0, 0, height, width
    tall, wide = (min(side, 2 * short + side % 2) for side in (height, width))  # about the same centre
    top, left = (height - tall) // 2, (width - wide) // 2
    return top, left, top + tall, left + wide


def _rows_first(height: int, width: int, how: Resize) -> bool:
    """Whether the rows are scaled before the columns: widening a line of a million pixels would take all memory."""
    return how == "squash" and height > MAX_ASPECT * width


def _target(height: int, width: int, size: int, how: Resize) -> tuple[int, int]:
    """(height, width) after scaling."""
    if how == "squash":
        return size, size
    if how == "pad":
        long = max(height, width)
        return max(1, round(height * size / long)), max(1, round(width * size / long))
    short = min(height, width)
    return max(size, round(height * size / short)), max(size, round(width * size / short))


def _scale(pixels: torch.Tensor, target: tuple[int, int], resizing: Resizing) -> torch.Tensor:
    if tuple(pixels.shape[-2:]) == target:
        return pixels
    return torch.nn.functional.interpolate(pixels, target, mode=resizing.interpolation, antialias=True)


def _fit(scaled: torch.Tensor, size: int) -> torch.Tensor:
    """The centre of what is larger, and FILL around what is smaller."""
    top, left = (max(0, (side - size) // 2) for side in scaled.shape[-2:])
    scaled = scaled[..., top : top + size, left : left + size]
    height, width = scaled.shape[-2:]
    if (height, width) == (size, size):
        return scaled
    out = scaled.new_full((*scaled.shape[:-2], size, size), FILL)
    top, left = (size - height) // 2, (size - width) // 2
    out[..., top : top + height, left : left + width] = scaled
    return out


def _planes(pixels: np.ndarray) -> torch.Tensor:
    """(h, w, C) as (1, C, h, w)."""
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None]
