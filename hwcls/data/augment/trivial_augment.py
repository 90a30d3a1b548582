"""TrivialAugment (arXiv 2103.10158): each image gets one operation and one strength, both drawn uniformly.

The operations and ranges are the paper's wide space, shears from the top left corner as there. The geometric ones
become part of the plan's affine map and are thus bilinear; the others change colours.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hwcls.data.augment import colour

LEVELS = 31  # strengths from nothing to all
FACTOR, SHEAR, TRANSLATE, ROTATE = 0.99, 0.99, 32, 135  # the most, either way; pixels, degrees
POSTERIZE = 6  # bits that go at most
OPS = (
    *("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate"),
    *("brightness", "saturation", "contrast", "sharpness", "posterize", "solarize", "autocontrast", "equalize"),
)
COLOUR: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": colour.brightness,
    "saturation": colour.saturation,
    "contrast": colour.contrast,
    "sharpness": colour.sharpness,
    "posterize": colour.posterize,
    "solarize": colour.solarize,
    "autocontrast": lambda images, _: colour.autocontrast(images),
    "equalize": lambda images, _: colour.equalize(images),
}


def draw_operations(uniform: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Operations, their maps and their strengths from uniforms (3, N) of [0, 1).

    Returns:
        op: (N,) int64, an index of OPS.
        theta: (N, 2, 3) float64, as in Plan; the identity for operations that change colours.
        strength: (N,) float64: a factor, bits or a threshold, as the operation takes it; 1 for the others.
    """
    op = np.floor(uniform[0] * len(OPS)).astype(np.int64)
    level = np.floor(uniform[1] * LEVELS) / (LEVELS - 1)  # 0..1
    signed = np.where(uniform[2] < 0.5, -level, level)
    theta = np.tile(np.eye(2, 3), (len(op), 1, 1))
    for axis, name in enumerate(("x", "y")):
        sheared, moved = op == OPS.index(f"shear_{name}"), op == OPS.index(f"translate_{name}")
        theta[sheared, axis, 1 - axis] = SHEAR * signed[sheared]
        theta[sheared, axis, 2] = SHEAR * signed[sheared] * side / 2
        theta[moved, axis, 2] = np.trunc(TRANSLATE * signed[moved])
    turned = op == OPS.index("rotate")
    angle = np.deg2rad(ROTATE * signed[turned])
    theta[turned, :, :2] = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], 1).reshape(-1, 2, 2)
    strength = np.ones(len(op))
    for name in ("brightness", "saturation", "contrast", "sharpness"):
        strength = np.where(op == OPS.index(name), 1 + FACTOR * signed, strength)
    strength = np.where(op == OPS.index("posterize"), 8 - np.rint(POSTERIZE * level), strength)
    strength = np.where(op == OPS.index("solarize"), 255 * (1 - level), strength)
    return op, theta, strength


def apply_colour_operations(images: Tensor, op: Tensor, strength: Tensor) -> Tensor:
    """Apply the operations that change colours.

    Args:
        images: (b, C, S, S) floats from 0 to 255; changed in place on a CPU.
        op: (b,) int64, an index of OPS.
        strength: (b,).
    """
    if images.device.type != "cpu":
        return apply_to_all(images, op, strength)
    for name, change in COLOUR.items():
        places = (op == OPS.index(name)).nonzero()[:, 0]
        if len(places):
            images[places] = change(images[places], strength[places])
    return images


def apply_to_all(images: Tensor, op: Tensor, strength: Tensor) -> Tensor:
    """As `apply_colour_operations`, without asking how many images an operation gets: the host would wait for that.

    Each operation changes all images, and each image takes its own. Four of them blend it with another picture: as
    one, with black for `brightness`, which saves three quarters of their launches and changes no bit.
    """
    chosen = (op == torch.arange(len(OPS), device=op.device)[:, None])[:, :, None, None, None]  # (ops, b, 1, 1, 1)
    masks = dict(zip(OPS, chosen, strict=True))  # (b, 1, 1, 1) each
    luma = colour.grey(images)  # (b, 1, S, S)
    other, blended = torch.where(masks["contrast"], colour.mean_grey(luma), 0), masks["brightness"] | masks["contrast"]
    if images.shape[1] > 1:
        other, blended = torch.where(masks["saturation"], luma, other), blended | masks["saturation"]
    if images.shape[2] >= 3:
        other = torch.where(masks["sharpness"], colour.smooth(images), other)
        blended = blended | masks["sharpness"]
    found = torch.where(blended, colour.blend(images, other, strength), images)
    for name in ("posterize", "solarize", "autocontrast", "equalize"):
        found = torch.where(masks[name], COLOUR[name](images, strength), found)
    return found
