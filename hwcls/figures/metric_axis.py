"""A metric on an axis and in a table: accuracies in percent."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from hwcls.format import format_fixed, name_metric


@dataclass(frozen=True)
class MetricAxis:
    """How the values of one metric are shown, such as val/accuracy."""

    metric: str

    @property
    def scale(self) -> float:
        """What a recorded value is multiplied by."""
        return 100.0 if self.metric.endswith("/accuracy") else 1.0

    @property
    def unit(self) -> str:
        """% or nothing."""
        return "%" if self.scale == 100 else ""

    @property
    def name(self) -> str:
        """Val accuracy is validation accuracy."""
        split = self.metric.partition("/")[0]
        words = {"val": "validation", "train": "training"}.get(split, split)
        return f"{words} {name_metric(self.metric)}"

    @property
    def title(self) -> str:
        """The name with its unit: test accuracy (%)."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


def choose_digits(intervals: Iterable[tuple[float | None, float | None]], scale: float) -> int:
    """The decimals of a column of means: two digits of half the narrowest interval, 1 to 4; 2 without an interval.

    Means of four decimals with intervals of whole percents would claim what nobody knows.
    """
    halves = [scale * (high - low) / 2 for low, high in intervals if low is not None and high is not None]
    known = [half for half in halves if half > 0]
    if not known:
        return 2 if scale == 100 else 4
    return min(4, max(1, 1 - math.floor(math.log10(min(known)))))


def format_estimate(values: tuple[float, float | None, float | None], scale: float, digits: int) -> str:
    """Mean, low and high: 98.3 (97.1 to 99.2), without an interval 98.3."""
    mean, low, high = values
    text = format_fixed(scale * mean, digits)
    if low is None or high is None:
        return text
    return f"{text} ({format_fixed(scale * low, digits)} to {format_fixed(scale * high, digits)})"
