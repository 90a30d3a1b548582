"""Figures of a finished run that are not scalars: pictures, a table per class, histograms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Histogram:
    """Distribution of a layer's weights or gradients after an epoch."""

    name: str  # weights/features.0
    epoch: int
    edges: NDArray[Any]  # (B + 1,)
    counts: NDArray[Any]  # (B,)


@dataclass(frozen=True, eq=False)
class Media:
    """What trackers show of a finished run besides scalars, of N validation images in K classes at its best epoch."""

    classes: tuple[str, ...]  # K
    labels: NDArray[Any]  # (N,) true classes
    predicted: NDArray[Any]  # (N,)
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]  # K of them, under `columns`; NaN where a class has no value
    pictures: dict[str, NDArray[Any]]  # by name: (H, W, 3) uint8
    histograms: tuple[Histogram, ...]
