"""Changes of colour, one strength per image of a batch; pixels are floats from 0 to 255 throughout.

Shape legend: b images, C channels (1 or 3), side S; channels are planes, as strided ones take several times
as long. An image's result does not depend on its neighbours in the batch: sums over
an image are of integers, whose order does not matter, and no multiply-add is fused. The formulas are those of
PIL and torchvision, without their rounding to integers after each step.
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as PIL's; they sum to 1, so that grey stays grey
FINE = 256  # parts of a pixel value in which grey is summed


def grey(images: Tensor) -> Tensor:
    """(b, C, S, S) to its luma (b, 1, S, S)."""
    if images.shape[1] == 1:
        return images
    red, green, blue = (images[:, channel, None] * weight for channel, weight in enumerate(LUMA))
    return red.add_(green).add_(blue)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply each of (b, C, S, S) by its `factor` (b,): 0 is black, 1 the image."""
    return (images * _each(factor)).clamp_(0, 255)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Away from the mean of the image's luma by `factor` (b,): 0 is that grey, 1 the image."""
    return blend(images, mean_grey(grey(images)), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Away from each pixel's luma by `factor` (b,): 0 is grey, 1 the image; grey images stay as they are."""
    return images if images.shape[1] == 1 else blend(images, grey(images), factor)


def hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue in HSV space by `turn` (b,), in turns of the colour circle; grey images stay as they are."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)  # (b, S, S)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    # which channel is the largest, as 0 and 1 in floats: several times faster than torch.where
    on_red = value.clone().eq_(red)
    on_green = value.clone().eq_(green).mul_(1 - on_red)
    on_blue = 1 - on_red - on_green
    slope = (green - blue).mul_(on_red) + (blue - red).mul_(on_green) + (red - green).mul_(on_blue)
    sixth = slope / chroma.clamp(min=1e-6) + on_green * 2 + on_blue * 4 + 6 * turn[:, None, None]
    sixth = sixth.remainder_(6)  # 0 is red, 2 green, 4 blue
    out = torch.empty_like(images)
    for channel, less in enumerate(((sixth - 3).abs_() - 2, 1 - (sixth - 2).abs_(), 1 - (sixth - 4).abs_())):
        torch.add(value, less.clamp_(-1, 0).mul_(chroma), out=out[:, channel])
    return out


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Away from PIL's SMOOTH filter (3x3, centre 5, the rest 1) by `factor` (b,); the border stays as it is."""
    return images if images.shape[2] < 3 else blend(images, smooth(images), factor)


def mean_grey(luma: Tensor) -> Tensor:
    """The mean (b, 1, 1, 1) of each (b, 1, S, S)."""
    area = luma.shape[2] * luma.shape[3]
    return _each((luma * FINE).round_().to(torch.int32).sum((1, 2, 3)).to(luma.dtype) / (FINE * area))


def smooth(images: Tensor) -> Tensor:
    """PIL's SMOOTH filter of (b, C, S, S), S at least 3; the border stays as it is."""
    rows = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]  # (b, C, S-2, S)
    box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]  # (b, C, S-2, S-2)
    found = images.clone()
    found[:, :, 1:-1, 1:-1] = (box + images[:, :, 1:-1, 1:-1] * 4) / 13
    return found


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the `bits` (b,), 1 to 8, highest bits of each pixel value, rounded to an integer."""
    step = torch.exp2(8 - bits).round_()
    return (images.round() / _each(step)).floor_() * _each(step)  # powers of two: exact


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the pixel values, rounded to integers, that reach `threshold` (b,)."""
    levels = images.round()
    return torch.where(levels >= _each(threshold), 255 - levels, levels)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel to 0..255; one of a single value stays as it is."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)  # (b, C, 1, 1)
    stretched = (images - low).mul_(255 / (high - low).clamp(min=1e-6))
    return torch.where(high - low < 0.5, images, stretched)  # a difference below 1 is rounding of the warp


def equalize(images: Tensor) -> Tensor:
    """Flatten each channel's histogram of pixel values, rounded to integers, by PIL's formula."""
    levels = images.round().to(torch.int64).flatten(2).flatten(0, 1)  # (b*C, S*S)
    counts = levels.new_zeros(len(levels), 256).scatter_add_(1, levels, torch.ones_like(levels))
    total = counts.cumsum(1)  # (b*C, 256)
    last = counts.gather(1, levels.amax(1, keepdim=True))
    step = (levels.shape[1] - last) // 255
    table = (((total - counts) + step // 2) // step.clamp(min=1)).clamp_(max=255)
    return torch.where(step > 0, table.gather(1, levels), levels).to(images.dtype).view(images.shape)


def blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """Away from what `other` shows by `factor` (b,): 0 is `other`, 1 the image."""
    return (images * _each(factor)).add_(other * _each(1 - factor)).clamp_(0, 255)


def _each(values: Tensor) -> Tensor:
    """(b,) as (b, 1, 1, 1)."""
    return values[:, None, None, None]
