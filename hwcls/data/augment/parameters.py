"""The plan of an epoch: the image at each position and its random changes, a function of (seed, epoch) alone.

The complete epoch is drawn at once on the CPU, so that neither ranks nor micro-batches change it. Each operation has
its own columns of one table of uniforms: turning one on does not change the draws of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwcls.config.data import AugmentConfig
from hwcls.data.augment import trivial_augment
from hwcls.data.splits import random_permutation

COLUMNS = 29  # new ones go last: those before them keep their draws
ORDER, TABLE, MIXUP, CUTMIX = 1, 2, 3, 4  # streams of (seed, epoch)
ERASED_AREA, ERASED_RATIO = (0.02, 1 / 3), (0.3, 3.3)  # arXiv 1708.04896
CROP_RATIO = (3 / 4, 4 / 3)  # arXiv 1409.4842


@dataclass
class AugmentPlan:
    """One entry per position of the epoch; None where an operation is off.

    Attributes:
        order: (N,) int64, the index in the split.
        shift: (N, 2) int64, rows and columns by which the window moves over the zero-padded image.
        vflip, hflip: (N,) bool, whether the image is mirrored top to bottom, left to right.
        theta: (N, 2, 3) float64, the map from output to input pixels, both measured from the centre as (x, y).
        colour: (N, 4) float64, the factors of brightness, contrast and saturation, and the turn of the hue.
        op: (N,) int64, TrivialAugment's operation, an index of trivial_augment.OPS.
        strength: (N,) float64, of that operation.
        hole: (N, 4) int64, the erased rectangle top, bottom, left, right; empty where nothing is erased.
        square: (N, 4) int64, cutout's rectangle.
        partner: (N,) int64, the position of the image mixed in.
        blend: (N,) float64, mixup's weight of the image itself; 1 where cutmix is used.
        patch: (N, 4) int64, cutmix's rectangle, copied from the partner; empty where mixup is used.
        share: (N,) float64, the weight of the image's own label.
        view: (N,) int64, the view of the image, where its features are cached.
    """

    order: Tensor
    shift: Tensor | None = None
    vflip: Tensor | None = None
    hflip: Tensor | None = None
    theta: Tensor | None = None
    colour: Tensor | None = None
    op: Tensor | None = None
    strength: Tensor | None = None
    hole: Tensor | None = None
    square: Tensor | None = None
    partner: Tensor | None = None
    blend: Tensor | None = None
    patch: Tensor | None = None
    share: Tensor | None = None
    view: Tensor | None = None

    def to(self, device: torch.device, dtype: torch.dtype) -> AugmentPlan:
        """The same plan on `device`, fractions as `dtype`."""
        return self._map(lambda tensor: tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype))

    def copy_(self, other: AugmentPlan) -> None:
        """Overwrite the entries with those of another plan of the same operations."""
        for field in fields(self):
            if (part := getattr(self, field.name)) is not None:
                part.copy_(getattr(other, field.name))

    def at(self, positions: slice | Tensor) -> AugmentPlan:
        """The entries of some positions."""
        return self._map(lambda tensor: tensor[positions])

    def _map(self, change: Callable[[Tensor], Tensor]) -> AugmentPlan:
        parts: dict[str, Any] = {}
        for field in fields(self):
            part = getattr(self, field.name)
            parts[field.name] = None if part is None else change(part)
        return AugmentPlan(**parts)


def plan_epoch(config: AugmentConfig, count: int, side: int, seed: int, epoch: int) -> AugmentPlan:
    """Draw the epoch's plan for `count` images of `side` pixels; epochs count from 1."""
    order = random_permutation(count, seed, epoch, ORDER)
    table = np.random.Generator(np.random.PCG64([seed, epoch, TABLE])).random((COLUMNS, count))
    parts: dict[str, np.ndarray] = {}
    moves = np.stack([_draw_shift(table[0], config.crop), _draw_shift(table[1], config.crop)], 1)  # (N, 2)
    flips = np.stack([(table[2] < 0.5) & config.vflip, (table[3] < 0.5) & config.hflip], 1)  # (N, 2)
    if config.rotate or config.translate or config.scale or config.resized_crop or config.trivial:
        parts["theta"] = _affine_maps(config, side, moves, flips, table[4:12])
    else:
        if config.crop:
            parts["shift"] = moves
        if config.vflip:
            parts["vflip"] = flips[:, 0]
        if config.hflip:
            parts["hflip"] = flips[:, 1]
    if config.brightness or config.contrast or config.saturation or config.hue:
        strengths = np.array([config.brightness, config.contrast, config.saturation])
        factors = _scale_uniform((np.maximum(1 - strengths, 0), 1 + strengths), table[20:23].T)  # (N, 3)
        parts["colour"] = np.concatenate([factors, config.hue * (2 * table[23:24].T - 1)], 1)
    if config.trivial:
        parts["op"], theta, parts["strength"] = trivial_augment.draw_operations(table[26:29], side)
        parts["theta"] = _compose(parts["theta"], theta)
    if config.erase:
        parts["hole"] = _draw_rectangles(
            side, _scale_uniform(ERASED_AREA, table[13]), _scale_log_uniform(ERASED_RATIO, table[14]), table[15:17]
        )
        parts["hole"][table[12] >= config.erase] = 0
    if config.cutout:
        corner = np.floor(table[24:26].T * side).astype(np.int64) - config.cutout // 2  # (N, 2): top, left
        edges = np.stack([corner, corner + config.cutout], 2).reshape(count, 4)
        parts["square"] = np.clip(edges, 0, side)  # anywhere: clipped at the border
    if (config.mixup or config.cutmix) and count > 1:
        parts |= _draw_mixing(config, side, table[16:20], seed, epoch)
    return AugmentPlan(torch.from_numpy(order), **{name: torch.from_numpy(part) for name, part in parts.items()})


def _draw_shift(uniform: np.ndarray, most: int) -> np.ndarray:
    return np.asarray(np.floor(uniform * (2 * most + 1)), np.int64) - most


def _scale_uniform(ends: tuple[float | np.ndarray, float | np.ndarray], uniform: np.ndarray) -> np.ndarray:
    return np.asarray(ends[0] + (ends[1] - ends[0]) * uniform)


def _scale_log_uniform(ends: tuple[float | np.ndarray, float | np.ndarray], uniform: np.ndarray) -> np.ndarray:
    low, high = np.log(ends[0]), np.log(ends[1])
    return np.asarray(np.exp(low + (high - low) * uniform))


def _affine_maps(
    config: AugmentConfig, side: int, shift: np.ndarray, flip: np.ndarray, table: np.ndarray
) -> np.ndarray:
    """(N, 2, 3): crop, flip, resized crop, then rotation, zoom and translation about the centre, as one map.

    A point p of the result is read from F (D L (p - t) + o) + s, with L the inverse rotation and zoom, t the
    translation, D and o the resized crop's sides and centre, F the flips and s the crop's shift.
    """
    angle = np.deg2rad(config.rotate * (2 * table[0] - 1))
    zoom = 1 + config.scale * (2 * table[1] - 1)
    move = config.translate * side * (2 * table[2:4] - 1)  # (2, N): x, y
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    linear = np.stack([np.stack([cos, -sin]), np.stack([sin, cos])])  # (2, 2, N)
    sides = np.ones((2, len(angle)))
    if config.resized_crop:
        sides = _crop_sides(config.resized_crop, table[4:6])
    centre = (1 - sides) * (table[6:8] - 0.5) * side
    sign = np.where(flip.T[::-1], -1.0, 1.0)  # (2, N): x, y
    linear = linear * sides[:, None]
    offset = centre - (linear * move[None]).sum(1)  # (2, N)
    theta = np.concatenate([linear * sign[:, None], (offset * sign + shift.T[::-1])[:, None]], 1)  # (2, 3, N)
    return np.ascontiguousarray(theta.transpose(2, 0, 1))


def _crop_sides(least: float, table: np.ndarray) -> np.ndarray:
    """(2, N): width and height of resized crops, shares of the side.

    As torchvision's RandomResizedCrop: an area uniform in [least, 1] and a ratio log-uniform in CROP_RATIO, both given
    that the crop fits into the image. So an area is the likelier the more ratios it leaves.
    """
    grid = np.linspace(least, 1, 2049)
    low, high = np.log(_fitting_ratios(grid))
    density = high - low
    below = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])  # the areas' distribution, times a constant
    area = np.interp(table[0] * below[-1], below, grid)
    ratio = _scale_log_uniform(_fitting_ratios(area), table[1])
    sides = np.sqrt(np.stack([area * ratio, area / ratio]))
    return np.asarray(np.minimum(sides, 1.0))  # above 1 by rounding alone


def _fitting_ratios(area: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest ratio, width over height, with which a crop of `area` fits into a square."""
    return np.maximum(CROP_RATIO[0], area), np.minimum(CROP_RATIO[1], 1 / area)


def _compose(first: np.ndarray, then: np.ndarray) -> np.ndarray:
    """(N, 2, 3): the map of an image changed by `first` and `then` again; pixels are looked up the other way round."""
    both = first[:, :, :2] @ then
    both[:, :, 2] += first[:, :, 2]
    return np.ascontiguousarray(both)


def _draw_rectangles(side: int, area: np.ndarray, ratio: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(N, 4) int64 rectangles inside the image; `area` is a share of it, `ratio` width over height."""
    height = np.clip(np.rint(side * np.sqrt(area / ratio)), 1, side).astype(np.int64)
    width = np.clip(np.rint(side * np.sqrt(area * ratio)), 1, side).astype(np.int64)
    top = np.floor(place[0] * (side - height + 1)).astype(np.int64)
    left = np.floor(place[1] * (side - width + 1)).astype(np.int64)
    return np.stack([top, top + height, left, left + width], 1)


def _draw_mixing(config: AugmentConfig, side: int, table: np.ndarray, seed: int, epoch: int) -> dict[str, np.ndarray]:
    """Partners and weights of mixup (arXiv 1710.09412) and cutmix (arXiv 1905.04899); with both, each for half."""
    count = table.shape[1]
    cut = table[0] < (0.5 if config.mixup and config.cutmix else 1.0 if config.cutmix else 0.0)
    partner = (np.arange(count) + 1 + np.floor(table[1] * (count - 1)).astype(np.int64)) % count  # never itself
    parts = {"partner": partner, "share": np.ones(count)}
    if config.mixup:
        weight = np.random.Generator(np.random.PCG64([seed, epoch, MIXUP])).beta(config.mixup, config.mixup, count)
        parts["share"] = parts["blend"] = np.where(cut, 1.0, weight)
    if config.cutmix:
        weight = np.random.Generator(np.random.PCG64([seed, epoch, CUTMIX])).beta(config.cutmix, config.cutmix, count)
        half = np.rint(side * np.sqrt(1 - weight)) / 2
        middle = np.floor(table[2:4] * side)  # anywhere: the rectangle is clipped at the border
        edges = [middle[0] - half, middle[0] + half, middle[1] - half, middle[1] + half]
        patch = np.where(cut[:, None], np.clip(np.floor(np.stack(edges, 1)), 0, side), 0).astype(np.int64)
        pasted = (patch[:, 1] - patch[:, 0]) * (patch[:, 3] - patch[:, 2]) / side**2
        parts |= {"patch": patch, "share": np.where(cut, 1 - pasted, parts["share"])}
    return parts
