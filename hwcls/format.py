"""Numbers and counts as people write them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hwcls.statistics import Estimate


def number(value: object) -> str:
    """A value on its own: four significant digits, a dash for nothing."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:.4g}"


def decimals(value: float | None, digits: int) -> str:
    """A number with so many decimals, a dash for nothing."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def cell(column: str, value: object) -> str:
    """A value under its column's name: metrics with four decimals, so that the digits stand below each other."""
    if "/" in column and isinstance(value, float) and abs(value) < 1000:
        return f"{value:.4f}"
    return number(value)


def of(count: int, noun: str) -> str:
    """A count with its noun: 1 trial, 2 trials."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def duration(seconds: float) -> str:
    """Seconds as the two largest units that say something: 0.8 s, 45 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def percent(share: float) -> str:
    """A share as a percentage with one digit."""
    return f"{100 * share:.1f} %"


def points(share: float) -> str:
    """A difference of shares in percentage points, signed only when negative."""
    return f"{100 * share:.2f}".replace("-", "−")


def noun(metric: str) -> str:
    """A metric's name in a sentence: test/macro_f1 is macro F1."""
    return metric.rpartition("/")[2].replace("_", " ").replace("f1", "F1")


def measure(metric: str, value: float) -> str:
    """A metric's value: accuracies as percentages."""
    return percent(value) if metric.endswith("/accuracy") else f"{value:.4f}".replace("-", "−")


def gap(metric: str, value: float, *, unit: bool = True) -> str:
    """A difference of two values of a metric: of accuracies in percentage points."""
    if not metric.endswith("/accuracy"):
        return measure(metric, value)
    return f"{points(value)} points" if unit else points(value)


def interval(metric: str, estimate: Estimate) -> str:
    """A mean and its interval."""
    mean, low, high = (measure(metric, value) for value in (estimate.mean, estimate.low, estimate.high))
    return f"{mean} (95 % interval {low} to {high})"


def listed(words: Sequence[str], joint: str = "and") -> str:
    """Words in a row: a; a and b; a, b and c."""
    return f" {joint} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
