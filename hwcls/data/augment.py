"""A plan carried out on a batch: (b, S, S, C) uint8 pixels to normalised images, on their device.

Geometry comes first, then colour, TrivialAugment's colour, normalisation, erasing, and mixing last.

Shape legend: b images, side S, C channels; memory is NHWC throughout, which permuted is channels_last. Only
operations whose result for one image does not depend on its neighbours in the batch are used.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hwcls.config.data import AugmentConfig
from hwcls.data import colour
from hwcls.data.plan import Plan
from hwcls.data.trivial import recolour

PORTION = 200_000  # values at once on a CPU


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

    def __call__(self, pixels: Tensor) -> Tensor:
        """(b, S, S, C) uint8 or float, contiguous, to (b, S, S, C) of the working dtype."""
        b, side, _, channels = pixels.shape
        rows = pixels.reshape(b, side, side * channels)
        rows = rows.to(self.work, copy=True).mul_(self.scale).add_(self.shift)  # no fused multiply-add: exact alike
        return rows.view(b, side, side, channels)


def augment(pixels: Tensor, plan: Plan, config: AugmentConfig, normalise: Normalise) -> Tensor:
    """Geometry, colour, normalisation and erasing of `plan`: (b, S, S, C) uint8 to (b, S, S, C) floats.

    Args:
        plan: The entries of these b images.
        config: What the plan was drawn from.
    """
    if pixels.device.type != "cpu":
        return _augment(pixels, plan, config, normalise)
    # in portions that stay in the cache: fresh memory for a whole batch costs 3x
    portion = max(1, PORTION // pixels[:1].numel())
    out = torch.empty(pixels.shape, dtype=normalise.work)
    for start in range(0, len(pixels), portion):
        some = slice(start, start + portion)
        out[some] = _augment(pixels[some], plan.at(some), config, normalise)
    return out


def _augment(pixels: Tensor, plan: Plan, config: AugmentConfig, normalise: Normalise) -> Tensor:
    if plan.theta is not None:
        exposed = bool(config.crop or config.rotate or config.translate or config.scale or config.trivial)
        pixels = warp(pixels.to(normalise.work), plan.theta, exposed)
    else:
        if plan.shift is not None:
            pixels = shifted(pixels, plan.shift, config.crop)
        if plan.vflip is not None:
            pixels = flipped(pixels, plan.vflip, axis=1)
        if plan.hflip is not None:
            pixels = flipped(pixels, plan.hflip, axis=2)
    if plan.colour is not None:
        pixels = jittered(pixels.to(normalise.work), plan.colour, config)
    if plan.op is not None and plan.strength is not None:
        pixels = recolour(pixels, plan.op, plan.strength)
    images = normalise(pixels)
    for rectangles in (plan.hole, plan.square):
        if rectangles is not None:
            _bytes(images).masked_fill_(inside(rectangles, images.shape[1], images.shape[3]), 0.0)  # the mean colour
    return images


def jittered(images: Tensor, strengths: Tensor, config: AugmentConfig) -> Tensor:
    """Brightness, contrast, saturation, hue, in this order, of (b, S, S, C) by `strengths` (b, 4), where asked for."""
    if config.brightness:
        images = colour.brightness(images, strengths[:, 0])
    if config.contrast:
        images = colour.contrast(images, strengths[:, 1])
    if config.saturation:
        images = colour.saturation(images, strengths[:, 2])
    return colour.hue(images, strengths[:, 3]) if config.hue else images


def shifted(pixels: Tensor, shift: Tensor, most: int) -> Tensor:
    """Move the window of each image over its zero-padded self: (b, S, S, C) to the same, pixels unchanged.

    Args:
        shift: (b, 2) int64, rows and columns, each from -most to most.
    """
    b, side, _, channels = pixels.shape
    wide = side + 2 * most
    padded = pixels.new_zeros(b, wide, wide, channels)
    padded[:, most:-most, most:-most] = pixels
    # every window of the buffer as one row of a strided view: the gather copies whole lines of pixels
    last = (side - 1) * wide + side
    windows = padded.as_strided((b * wide * wide - last + 1, side, side * channels), (channels, wide * channels, 1))
    corner = torch.arange(b, device=pixels.device) * wide * wide + (shift[:, 0] + most) * wide + shift[:, 1] + most
    return windows.index_select(0, corner).view(b, side, side, channels)


def flipped(pixels: Tensor, chosen: Tensor, axis: int) -> Tensor:
    """Mirror the `chosen` (b,) of (b, S, S, C) along the rows (axis 1) or the columns (axis 2)."""
    b = len(pixels)
    mirrored = pixels.permute(0, 3, 1, 2).flip(axis + 1).permute(0, 2, 3, 1)  # channels_last is torch's fast path
    both = torch.cat([pixels, mirrored])
    return both.index_select(0, torch.arange(b, device=pixels.device) + b * chosen)  # whole images: 6x torch.where


def warp(images: Tensor, theta: Tensor, exposed: bool) -> Tensor:
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
    return warped.permute(0, 2, 3, 1).contiguous()  # (b, S, S, C)


def mixed(images: Tensor, partners: Tensor, plan: Plan) -> Tensor:
    """mixup and cutmix: (b, S, S, C) images and their partners, by `plan`'s blend and patch."""
    own, other = _bytes(images), _bytes(partners)
    if plan.blend is not None:
        weight = plan.blend[:, None, None]
        own = own * weight + other * (1 - weight)
    if plan.patch is not None:
        own = torch.where(inside(plan.patch, images.shape[1], images.shape[3]), other, own)
    return own.view(images.shape)


def inside(rectangles: Tensor, side: int, channels: int) -> Tensor:
    """(b, S, S*C) bool: whether each value lies in its image's rectangle (b, 4): top, bottom, left, right."""
    axis = torch.arange(side, device=rectangles.device)
    top, bottom, left, right = rectangles.unbind(1)
    rows = (axis >= top[:, None]) & (axis < bottom[:, None])  # (b, S)
    columns = (axis >= left[:, None]) & (axis < right[:, None])  # (b, S)
    return rows[:, :, None] & columns.repeat_interleave(channels, 1)[:, None, :]


def _bytes(images: Tensor) -> Tensor:
    """(b, S, S, C) as (b, S, S*C): long inner loops."""
    return images.view(*images.shape[:2], -1)
