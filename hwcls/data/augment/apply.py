"""Applies a plan to a batch: (b, S, S, C) uint8 pixels to normalised images, on their device.

Geometry comes first, then colour, TrivialAugment's colour, normalisation, erasing, and mixing last.

Shape legend: b images, side S, C channels; memory is NHWC throughout, which permuted is channels_last. Only
operations whose result for one image does not depend on its neighbours in the batch are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from hwcls.config.data import AugmentConfig
from hwcls.data.augment import colour, trivial_augment
from hwcls.data.augment.parameters import AugmentPlan

PORTION = 1_600_000  # bytes of pixels at once on a CPU


class Normalise:
    """Pixels 0..255 to (x / 255 - mean) / std per channel.

    Args:
        mean, std: Per channel, of pixels / 255.
        side: S, of the images.
        dtype: Of the result; float32 at least is used on the way.
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], side: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.dtype, self.work = dtype, torch.promote_types(dtype, torch.float32)
        scale = [1 / (255 * s) for s in std]
        shift = [-m / s for m, s in zip(mean, std, strict=True)]
        # one value per byte of a row: a broadcast over 1 or 3 channels as the innermost loop is 4x slower
        self.scale = torch.tensor(scale, dtype=self.work, device=device).repeat(side)  # (S*C,)
        self.shift = torch.tensor(shift, dtype=self.work, device=device).repeat(side)  # (S*C,)

    def __call__(self, pixels: Tensor, out: Tensor | None = None) -> Tensor:
        """(b, S, S, C) uint8 or float to (b, S, S, C), contiguous, of the working dtype, in `out` where it is given."""
        b, side, _, channels = pixels.shape
        out = torch.empty(pixels.shape, dtype=self.work, device=pixels.device) if out is None else out
        rows = out.copy_(pixels).view(b, side, side * channels)
        rows.mul_(self.scale).add_(self.shift)  # no fused multiply-add: exact alike
        return out


def to_pixels(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """(b, S, S, C) uint8 from normalised (b, C, S, S): `Normalise` undone."""
    centre, spread = (torch.tensor(values, device=images.device) for values in (mean, std))  # (C,) each
    pixels = (images.float().permute(0, 2, 3, 1) * spread + centre) * 255
    found: np.ndarray = pixels.round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    return found


def augment_batch(pixels: Tensor, plan: AugmentPlan, config: AugmentConfig, normalise: Normalise) -> Tensor:
    """Geometry, colour, normalisation and erasing of `plan`: (b, S, S, C) uint8 to (b, S, S, C) floats.

    Args:
        plan: The entries of these b images.
        config: What the plan was drawn from.
    """
    out = torch.empty(pixels.shape, dtype=normalise.work, device=pixels.device)
    moved_only = all(part is None for part in (plan.theta, plan.colour, plan.hole, plan.square))
    for some in cache_sized_portions(pixels, pixels.dtype if moved_only else normalise.work):
        _augment_portion(pixels[some], plan.at(some), config, normalise, out[some])
    return out


def cache_sized_portions(images: Tensor, dtype: torch.dtype) -> Iterator[slice]:
    """Slices of a batch to process at once as `dtype`: on a GPU everything, on a CPU as much as fits the cache.

    On a CPU, fresh memory for a complete batch's intermediate results is 3x slower; smaller slices mean more calls.
    """
    count = len(images)
    size = count if images.device.type != "cpu" else PORTION // (images[:1].numel() * dtype.itemsize)
    size = max(1, size)
    return (slice(start, start + size) for start in range(0, count, size))


def _augment_portion(
    pixels: Tensor, plan: AugmentPlan, config: AugmentConfig, normalise: Normalise, out: Tensor
) -> None:
    if plan.theta is not None:
        exposed = bool(config.crop or config.rotate or config.translate or config.scale or config.trivial)
        pixels = warp_images(pixels.to(normalise.work), plan.theta, exposed)
    else:
        if plan.shift is not None:
            pixels = shift_images(pixels, plan.shift, config.crop)
        if plan.vflip is not None:
            pixels = flip_images(pixels, plan.vflip, axis=1)
        if plan.hflip is not None:
            pixels = flip_images(pixels, plan.hflip, axis=2)
    if plan.colour is not None or plan.op is not None:
        pixels = change_colours(pixels.to(normalise.work), plan, config)
    normalise(pixels, out)
    for rectangles in (plan.hole, plan.square):
        if rectangles is not None:
            _as_rows(out).mul_(outside_mask(rectangles, out))  # 0 is the mean colour


def change_colours(images: Tensor, plan: AugmentPlan, config: AugmentConfig) -> Tensor:
    """Brightness, contrast, saturation, hue, in this order, then TrivialAugment's colours: (b, S, S, C) floats."""
    planes = images.permute(0, 3, 1, 2).contiguous()  # (b, C, S, S)
    if plan.colour is not None:
        factors = plan.colour.unbind(1)
        planes = colour.brightness(planes, factors[0]) if config.brightness else planes
        planes = colour.contrast(planes, factors[1]) if config.contrast else planes
        planes = colour.saturation(planes, factors[2]) if config.saturation else planes
        planes = colour.hue(planes, factors[3]) if config.hue else planes
    if plan.op is not None and plan.strength is not None:
        planes = trivial_augment.apply_colour_operations(planes, plan.op, plan.strength)
    return planes.permute(0, 2, 3, 1)


def shift_images(pixels: Tensor, shift: Tensor, most: int) -> Tensor:
    """Move the window of each image over its zero-padded self: (b, S, S, C) to the same, pixels unchanged.

    Args:
        shift: (b, 2) int64, rows and columns, each from -most to most.
    """
    b, side, _, channels = pixels.shape
    wide = side + 2 * most
    padded = pixels.new_zeros(b, wide, wide, channels)
    padded[:, most:-most, most:-most] = pixels
    # every window of the buffer as one row of a strided view: the gather copies complete lines of pixels
    last = (side - 1) * wide + side
    windows = padded.as_strided((b * wide * wide - last + 1, side, side * channels), (channels, wide * channels, 1))
    centre = most * wide + most
    centres = torch.arange(centre, centre + b * wide * wide, wide * wide, device=pixels.device)  # (b,)
    corner = (centres + shift[:, 1]).add_(shift[:, 0], alpha=wide)
    return windows.index_select(0, corner).view(b, side, side, channels)


def flip_images(pixels: Tensor, chosen: Tensor, axis: int) -> Tensor:
    """Mirror the `chosen` (b,) of (b, S, S, C) along the rows (axis 1) or the columns (axis 2)."""
    if pixels.device.type != "cpu":  # how many are chosen is not asked: that would make the host wait
        return torch.where(chosen[:, None, None, None], pixels.flip(axis), pixels)
    place, turned = torch.arange(len(pixels)), chosen.nonzero()[:, 0]
    place[turned] = torch.arange(len(pixels), len(pixels) + len(turned))
    mirrored = pixels.index_select(0, turned).permute(0, 3, 1, 2).flip(axis + 1)  # channels_last is torch's fast path
    both = torch.cat([pixels, mirrored.permute(0, 2, 3, 1)])
    return both.index_select(0, place)  # copies complete images: 6x as fast as torch.where


def warp_images(images: Tensor, theta: Tensor, exposed: bool) -> Tensor:
    """Read each output pixel from `theta`'s place, bilinearly; outside is black if `exposed`, else the border's colour.

    Args:
        images: (b, S, S, C) floats.
        theta: (b, 2, 3), from output to input pixels, both from the centre as (x, y).
    """
    side = images.shape[1]
    axis = (torch.arange(side, device=images.device, dtype=images.dtype) + 0.5) * (2 / side) - 1  # (S,)
    linear, offset = theta[:, :, :2], theta[:, :, 2] * (2 / side)
    # written out, not a matmul: its rounding would depend on the batch
    along_x = linear[:, :, 0, None] * axis + offset[:, :, None]  # (b, 2, S)
    along_y = linear[:, :, 1, None] * axis  # (b, 2, S)
    grid = along_x[:, :, None, :] + along_y[:, :, :, None]  # (b, 2, S, S)
    mode = "zeros" if exposed else "border"
    warped = torch.nn.functional.grid_sample(
        images.permute(0, 3, 1, 2), grid.permute(0, 2, 3, 1), mode="bilinear", padding_mode=mode, align_corners=False
    )
    return warped.permute(0, 2, 3, 1)  # (b, S, S, C)


def mix_images(images: Tensor, partners: Tensor, plan: AugmentPlan) -> Tensor:
    """mixup and cutmix: (b, S, S, C) images and their partners, by `plan`'s blend and patch."""
    weight = torch.ones(len(images), 1, 1, dtype=images.dtype, device=images.device)
    if plan.blend is not None:
        weight = plan.blend[:, None, None]
    if plan.patch is not None:
        weight = weight * outside_mask(plan.patch, images)  # (b, S, S*C)
    return (_as_rows(images) * weight).add_(_as_rows(partners) * (1 - weight)).view(images.shape)


def outside_mask(rectangles: Tensor, images: Tensor) -> Tensor:
    """(b, S, S*C) of `images`' type: 1, but 0 in each image's rectangle (b, 4): top, bottom, left, right."""
    side, channels = images.shape[1], images.shape[3]
    axis = torch.arange(side, device=rectangles.device)
    top, bottom, left, right = rectangles[:, :, None].unbind(1)  # (b, 1)
    rows = ((axis < top) | (axis >= bottom)).to(images.dtype)  # (b, S)
    columns = ((axis < left) | (axis >= right)).to(images.dtype).repeat_interleave(channels, 1)  # (b, S*C)
    return torch.maximum(rows[:, :, None], columns[:, None])  # floats: long vector loops, unlike bytes


def _as_rows(images: Tensor) -> Tensor:
    """(b, S, S, C) as (b, S, S*C): long inner loops."""
    return images.view(*images.shape[:2], -1)
