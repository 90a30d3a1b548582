"""How images are resized to the stored square; needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from hwcls.config.data import PLAIN_INPUTS, DataConfig, Interpolation, Resize


@dataclass(frozen=True)
class Resizing:
    """How an image is resized, with antialiasing; the share `crop_pct` of the scaled side is kept, its centre."""

    how: Resize = "crop"
    interpolation: Interpolation = "bilinear"
    crop_pct: float = 1.0

    @classmethod
    def of(cls, data: DataConfig) -> Resizing:
        """What a data section asks for, plainly where it is left open."""
        return cls(
            data.resize,
            data.interpolation or PLAIN_INPUTS["interpolation"],
            data.crop_pct or PLAIN_INPUTS["crop_pct"],
        )

    def scaled_side(self, size: int) -> int:
        """The side of the square that an image is scaled to, of which the centre of `size` pixels is kept; as timm."""
        return math.floor(size / self.crop_pct)

    def key(self) -> list[Any]:
        """What a store's key has of it: what was not in the keys of earlier stores only where it is not as it was."""
        if (self.interpolation, self.crop_pct) != ("bilinear", 1.0):
            return [self.how, self.interpolation, self.crop_pct]
        return [] if self.how == "crop" else [self.how]

    def __str__(self) -> str:
        """What is not usual of it: "squash, bicubic, the centre 87.5 % of each side"."""
        words: list[str] = [self.how] if self.how != "crop" else []
        words += [self.interpolation] if self.interpolation != "bilinear" else []
        return ", ".join([*words, *([f"the centre {100 * self.crop_pct:g} %"] if self.crop_pct != 1 else [])])


USUAL = Resizing()
