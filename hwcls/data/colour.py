"""Changes of colour, one strength per image of a batch; pixels are floats from 0 to 255 throughout.

Shape legend: b images, side S, C channels (1 or 3). Of each image's neighbours in the batch nothing is seen: sums over
an image are of whole numbers, whose order does not matter, and no multiply-add is fused. The formulas are those of
PIL and torchvision, without their rounding to whole pixel values after each step.
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as PIL's; they sum to 1, so that grey stays grey
FINE = 256  # parts of a pixel value in which grey is summed


def grey(images: Tensor) -> Tensor:
    """(b, S, S, C) to its luma (b, S, S, 1)."""
    if images.shape[3] == 1:
        return images
    red, green, blue = (images[..., channel, None] * weight for channel, weight in enumerate(LUMA))
    return red + green + blue


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply each of (b, S, S, C) by its `factor` (b,): 0 is black, 1 the image."""
    return (images * _each(factor)).clamp_(0, 255)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Away from the mean of the image's luma by `factor` (b,): 0 is that grey, 1 the image."""
    area = images.shape[1] * images.shape[2]
    mean = (grey(images) * FINE).round_().to(torch.int32).sum((1, 2, 3)).to(images.dtype) / (FINE * area)  # (b,)
    return _blend(images, _each(mean), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Away from each pixel's luma by `factor` (b,): 0 is grey, 1 the image; grey images stay as they are."""
    return images if images.shape[3] == 1 else _blend(images, grey(images), factor)


def hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue in HSV space by `turn` (b,), in turns of the colour circle; grey images stay as they are."""
    if images.shape[3] == 1:
        return images
    red, green, blue = images.unbind(3)  # (b, S, S)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    divisor = chroma.clamp(min=1e-6)
    sixth = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    sixth = sixth + 6 * turn[:, None, None]
    out = torch.empty_like(images)
    for channel, start in enumerate((5, 3, 1)):
        place = (sixth + start).remainder_(6)
        out[..., channel] = value - chroma * torch.minimum(place, 4 - place).clamp_(0, 1)
    return out


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Away from PIL's SMOOTH filter (3x3, centre 5, the rest 1) by `factor` (b,); the border stays as it is."""
    if images.shape[1] < 3:
        return images
    rows = images[:, :-2] + images[:, 1:-1] + images[:, 2:]  # (b, S-2, S, C)
    box = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]  # (b, S-2, S-2, C)
    smooth = images.clone()
    smooth[:, 1:-1, 1:-1] = (box + images[:, 1:-1, 1:-1] * 4) / 13
    return _blend(images, smooth, factor)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the `bits` (b,), 1 to 8, highest bits of each whole pixel value."""
    step = torch.exp2(8 - bits).round_()
    return (images.round() / _each(step)).floor_() * _each(step)  # powers of two: exact


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the whole pixel values that reach `threshold` (b,)."""
    levels = images.round()
    return torch.where(levels >= _each(threshold), 255 - levels, levels)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel to 0..255; one of a single value stays as it is."""
    low, high = images.amin((1, 2), keepdim=True), images.amax((1, 2), keepdim=True)  # (b, 1, 1, C)
    stretched = (images - low) * (255 / (high - low).clamp(min=1e-6))
    return torch.where(high - low < 0.5, images, stretched)  # less than a whole value is the warp's rounding


def equalize(images: Tensor) -> Tensor:
    """Flatten each channel's histogram of whole pixel values, by PIL's formula."""
    b, side, _, channels = images.shape
    levels = images.round().to(torch.int64).permute(0, 3, 1, 2).reshape(b * channels, side * side)
    counts = levels.new_zeros(b * channels, 256).scatter_add_(1, levels, torch.ones_like(levels))
    total = counts.cumsum(1)  # (b*C, 256)
    last = counts.gather(1, levels.amax(1, keepdim=True))
    step = (side * side - last) // 255
    table = (((total - counts) + step // 2) // step.clamp(min=1)).clamp_(max=255)
    flat = torch.where(step > 0, table.gather(1, levels), levels)
    return flat.view(b, channels, side, side).permute(0, 2, 3, 1).to(images.dtype).contiguous()


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (images * _each(factor) + other * _each(1 - factor)).clamp_(0, 255)


def _each(values: Tensor) -> Tensor:
    """(b,) as (b, 1, 1, 1)."""
    return values[:, None, None, None]
