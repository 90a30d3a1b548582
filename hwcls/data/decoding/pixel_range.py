"""The range by which pixels of more than 8 bits become 8: integers of 16 and 32 bits, and floats.

What the largest value of such a file means is not in the file: 12-bit cameras and scanners write 0 to 4095 into 16
bits. So black and white are the smallest and the largest value of the training images, one pair for the whole set;
integers that use most of 16 bits are taken for what they are.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

RARE = 1e-4  # the share of values at either end that may be outliers
SPREAD = 2  # they are, where they make the range more than so many times as wide: hot pixels, burnt-in marks


class UnknownRangeError(ValueError):
    """Pixels of more than 8 bits, and no range was given."""


@dataclass(frozen=True)
class PixelRange:
    """The values of pixels of more than 8 bits that become 0 and 255; those outside are clipped.

    Attributes:
        low, high: As the files have them; low < high.
        kind: integer or float. Files of the other kind are not comparable.
    """

    low: float
    high: float
    kind: str = "integer"

    def scale(self, values: np.ndarray) -> np.ndarray:
        """Values of any shape as uint8; rounded to nearest, NaN is black.

        Raises:
            ValueError: Values of the other kind.
        """
        if kind_of(values) != self.kind:
            raise ValueError(f"has {kind_of(values)} pixels of unknown black and white: training had {self.kind} ones")
        if self.kind == "integer":
            low, high = int(self.low), int(self.high)
            shifted = values.astype(np.int64).clip(low, high) - low
            scaled: np.ndarray = (shifted * 255 + (high - low) // 2) // (high - low)
            return scaled.astype(np.uint8)
        shares = (np.nan_to_num(values.astype(np.float64), nan=self.low) - self.low) / (self.high - self.low)
        scaled = np.rint(shares.clip(0, 1) * 255)
        return scaled.astype(np.uint8)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any] | None) -> PixelRange | None:
        """Read `to_dict`'s output, or None; raises KeyError, TypeError, ValueError."""
        return None if value is None else cls(float(value["low"]), float(value["high"]), str(value["kind"]))

    def describe(self) -> str:
        """A sentence for the terminal."""
        return f"pixels of more than 8 bits: {self.low:g} to {self.high:g} (of the training images) become 0 to 255"


SIXTEEN_BITS = PixelRange(0, 65535)  # what models were trained with before ranges were recorded


class RangeMeter:
    """Counts the values of wide pixels, by several threads; small whatever is counted.

    Values are counted by their first 16 bits as float32: exact to a 128th, in an order of their own.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(1 << 16, np.int64)
        self._low, self._high = np.inf, -np.inf
        self.kinds: set[str] = set()
        self._lock = threading.Lock()

    def add(self, values: np.ndarray) -> None:
        """Count values of any shape; those that are not finite are left out."""
        kind = kind_of(values)
        finite = values[np.isfinite(values)] if kind == "float" else values.ravel()
        bits = finite.astype(np.float32).view(np.uint32) >> 16
        counts = np.bincount(bits, minlength=1 << 16)
        with self._lock:
            self.kinds.add(kind)
            self._counts += counts
            if finite.size:
                self._low, self._high = min(self._low, finite.min()), max(self._high, finite.max())

    def range(self) -> PixelRange | None:
        """The range of what was counted; None where that is nothing.

        Raises:
            ValueError: Integers and floats, which have no common range.
        """
        if len(self.kinds) > 1:
            raise ValueError("some images have integer and some floating-point pixels, which have no common range")
        if not self.kinds:
            return None
        low, high = (float(self._low), float(self._high)) if self._counts.any() else (0.0, 1.0)
        likely_low, likely_high = self._quantiles(low, high)
        if likely_high > likely_low and high - low > SPREAD * (likely_high - likely_low):
            low, high = likely_low, likely_high
        [kind] = self.kinds
        if kind == "integer":
            low, high = float(np.floor(low)), float(np.ceil(high))
            if low >= 0 and SIXTEEN_BITS.high / 2 < high - low and high <= SIXTEEN_BITS.high:
                return SIXTEEN_BITS
        return PixelRange(low, high if high > low else low + 1, kind)

    def _quantiles(self, low: float, high: float) -> tuple[float, float]:
        """The values between which all but RARE at either end lie, rounded outwards."""
        values = (np.arange(1 << 16, dtype=np.uint32) << 16).view(np.float32)
        order = np.argsort(values, kind="stable")  # NaN last
        shares = np.cumsum(self._counts[order]) / max(self._counts.sum(), 1)
        first, last = (int(np.searchsorted(shares, *where)) for where in ((RARE, "right"), (1 - RARE, "left")))
        below, above = values[order[max(first - 1, 0)]], values[order[min(last + 1, len(order) - 1)]]
        return max(low, float(below)), min(high, float(above))


def kind_of(values: np.ndarray) -> str:
    """integer or float."""
    return "float" if values.dtype.kind == "f" else "integer"
