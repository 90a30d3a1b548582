"""Dots with intervals, a row for each thing: drawn by the browser from percentages, without a library."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwcls.format import format_metric, format_number, name_metric
from hwcls.report.html.charts.figure import COLOURS, assign_colours
from hwcls.results.confirm.plan import confirm_label
from hwcls.results.diagnostics import Diagnostics
from hwcls.results.load import SweepResults
from hwcls.results.representatives import choose_representatives
from hwcls.results.test_comparison import compare_confirmed
from hwcls.results.test_scores import WinnerScores

TICKS = 5  # on the axis, about
STEPS = (1.0, 2.0, 5.0, 10.0)  # of the axis, times a power of ten


@dataclass(frozen=True)
class Dot:
    """A value, with an interval where one is known."""

    name: str
    colour: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class DotRow:
    """One line of the chart: its dots, and what stands beside them."""

    name: str
    dots: tuple[Dot, ...]
    shown: str = ""
    note: str = ""


@dataclass(frozen=True)
class DotChart:
    """Rows over one axis from `low` to `high`."""

    rows: tuple[DotRow, ...]
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]  # value, label
    legend: tuple[tuple[str, str], ...] = ()  # name, colour
    caption: str = ""

    def place(self, value: float) -> str:
        """Where a value is on the axis, as a percentage."""
        return f"{100 * (value - self.low) / (self.high - self.low):.2f}%"


def build_dot_chart(
    rows: Sequence[DotRow],
    label: Callable[[float], str],
    caption: str = "",
    legend: Sequence[tuple[str, str]] = (),
    most: float = math.inf,
) -> DotChart | None:
    """The chart of some rows, its axis as wide as their intervals; None without a dot.

    Args:
        label: A tick's text.
        most: The greatest possible value: the axis ends there at the latest.
    """
    ends = [end for row in rows for dot in row.dots for end in (dot.value, dot.low, dot.high) if end is not None]
    if not ends:
        return None
    low, high = min(ends), max(ends)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
    low, high = low - margin, min(high + margin, most + 0.02 * (most - low)) if most < math.inf else high + margin
    ticks = [tick for tick in _ticks(low, high) if tick <= most]
    return DotChart(tuple(rows), low, high, tuple((tick, label(tick)) for tick in ticks), tuple(legend), caption)


def alternatives_chart(sweep: SweepResults) -> DotChart | None:
    """Every alternative on test with its interval; on validation, without one, where none is confirmed."""
    found, palette, rows = compare_confirmed(sweep), assign_colours(sweep), []
    metric = found.metric if found else sweep.metric
    for one in choose_representatives(sweep):
        label, colour = confirm_label(one.label), palette.get(one.label, COLOURS[0])
        if found is None and one.leader.value is not None:
            value = one.leader.value
            rows.append(DotRow(one.name, (Dot(one.name, colour, value),), format_metric(metric, value)))
        elif found is not None and label in found.labels:
            estimate = found.estimate(label)
            dot = Dot(one.name, colour, estimate.mean, estimate.low, estimate.high)
            ends = " to ".join(format_metric(metric, end) for end in (estimate.low, estimate.high))
            rows.append(DotRow(one.name, (dot,), format_metric(metric, estimate.mean), ends))
        elif found is not None:
            rows.append(DotRow(one.name, (), "not confirmed"))
    name = name_metric(metric)
    caption = f"{name[:1].upper()}{name[1:]} on validation, of the best trial: an interval needs at least two"
    caption += " confirm runs of a winner, with their predictions on test."
    if found is not None:
        caption = f"{name[:1].upper()}{name[1:]} on test: the mean over the confirm runs and its 95 % interval."
    most = math.inf if metric.endswith("loss") else 1.0
    return build_dot_chart(rows, lambda value: _tick(metric, value), caption, most=most)


def class_chart(
    models: Sequence[WinnerScores], classes: Sequence[str], palette: Mapping[str, str], split: str
) -> DotChart | None:
    """The F1 of each class on `split`, of every model with its interval."""
    bounds = [one.f1_intervals() for one in models]  # (2, K) each
    rows = []
    for place, name in enumerate(classes):
        dots = [
            Dot(one.name, palette.get(one.name, COLOURS[0]), float(one.mean[2, place]), *map(float, ends[:, place]))
            for one, ends in zip(models, bounds, strict=True)
            if one.support[place]
        ]
        rows.append(DotRow(name, tuple(dots), "  ".join(f"{dot.value:.3f}" for dot in dots)))
    legend = [(one.name, palette.get(one.name, COLOURS[0])) for one in models] if len(models) > 1 else []
    seeds = any(one.seeds > 1 for one in models)
    caption = f"F1 of each class on {split}{', the mean over the seeds' if seeds else ''}; the line is where "
    caption += f"95 % of runs{' on other seeds and' if seeds else ''} on as many new images would be (bootstrap)."
    return build_dot_chart(rows, lambda value: f"{value:.3g}", caption, legend, most=1.0)


def score_on_validation(found: Sequence[Diagnostics]) -> list[WinnerScores]:
    """The scores of the diagnosed trials in the form of those on test."""
    return [
        WinnerScores(
            one.name,
            one.trial.number,
            np.stack([one.per_class.precision, one.per_class.recall, one.per_class.f1, one.auc])[None],  # (1, 4, K)
            one.per_class.support,
            one.confusion[None],  # (1, K, K)
        )
        for one in found
    ]


def _tick(metric: str, value: float) -> str:
    if metric.endswith("/accuracy"):
        return f"{100 * value:.4g} %"
    return format_number(value)


def _ticks(low: float, high: float) -> list[float]:
    """About TICKS round numbers between two values."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in STEPS if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 12) for place in range(first, math.floor(high / step + 1e-9) + 1)]
