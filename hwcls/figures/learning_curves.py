"""The sweep's metric by epoch: the representative of each alternative, all others faint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcls.figures.drawable import NothingToShow
from hwcls.figures.metric_axis import MetricAxis
from hwcls.figures.style import add_legend, assign_looks, count_on_axis, new_figure
from hwcls.format import format_count
from hwcls.results.answer import name_alternative
from hwcls.results.load import SweepResults, TrialResult, is_finite
from hwcls.results.representatives import choose_representatives, describe_representatives
from hwcls.statistics import range_of_most

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_FAINT = 200  # curves of the others, evenly over the ranks


@dataclass(frozen=True)
class Curve:
    """One trial."""

    trial: int
    name: str
    look: Mapping[str, Any]
    epochs: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class LearningCurves:
    """The curves of a sweep."""

    axis: MetricAxis
    strong: tuple[Curve, ...]
    faint: tuple[Curve, ...]
    trials: int  # with a curve, drawn or not
    sign: int  # 1 where more is better
    represented: str  # what the strong curves are of

    @property
    def caption(self) -> str:
        """The figure's caption."""
        name = self.axis.name
        text = f"{name[:1].upper()}{name[1:]} by epoch: {self.represented}, its best epoch marked"
        if self.faint:
            others = self.trials - len(self.strong)
            shown = "" if len(self.faint) == others else f" of {others:,}, evenly over the ranks"
            text += f"; faint: {format_count(len(self.faint), 'other')}{shown}"
        cut = sum(not low <= value <= high for low, high in [self.limits()] for c in self.faint for value in c.values)
        return f"{text}{', parts of them beyond the axis' if cut else ''}."

    def limits(self) -> tuple[float, float]:
        """The ends of the y axis: all of the strong curves, and of the faint ones what is no outlier."""
        strong, faint = ([v for curve in curves for v in curve.values] for curves in (self.strong, self.faint))
        low, high = range_of_most(faint, self.sign, strong) or (min(strong + faint), max(strong + faint))
        edge = 0.04 * (high - low) or 0.01
        return low - edge, high + edge

    def draw(self, width: str) -> Figure:
        """Draw it."""
        names, scale = [curve.name for curve in self.strong], self.axis.scale
        figure = new_figure(width, 2.2 if width == "one" else 2.8, names)
        axes = figure.subplots()
        for curve in self.faint:
            values, dot = [scale * value for value in curve.values], "." if len(curve.epochs) == 1 else ""
            axes.plot(curve.epochs, values, color=curve.look["color"], linewidth=0.6, alpha=0.4, marker=dot, ms=2)
        handles = []
        for curve in self.strong:
            values = [scale * value for value in curve.values]
            best = [int(np.argmax([self.sign * value for value in values]))]
            line = axes.plot(curve.epochs, values, **curve.look, linewidth=1.6, markevery=best, markersize=5)
            handles += line
        low, high = self.limits()
        axes.set_ylim(scale * low, scale * high)
        axes.set_xlabel("epoch")
        axes.set_ylabel(self.axis.title)
        count_on_axis(axes)
        add_legend(figure, handles, names)
        return figure


def collect_learning_curves(sweep: SweepResults) -> LearningCurves:
    """The curves of all trials that have a value; raises NothingToShow without one."""
    looks, metric = assign_looks(sweep), sweep.metric

    def curve(trial: TrialResult) -> Curve:
        points = [(int(line["epoch"]), float(line[metric])) for line in trial.records if is_finite(line.get(metric))]
        name = f"trial {trial.number}" if sweep.compare is None else name_alternative(sweep, trial.label)
        epochs, values = zip(*points, strict=True)
        return Curve(trial.number, name, looks[trial.label], epochs, values)

    able = [trial for trial in sweep.ranked() if any(is_finite(line.get(metric)) for line in trial.records)]
    known = {trial.number for trial in able}
    representatives = [one for one in choose_representatives(sweep) if one.trial.number in known]
    chosen = [one.trial for one in representatives]
    if not chosen:
        raise NothingToShow(f"no trial has recorded {metric} yet")
    strong = {trial.number for trial in chosen}
    others = sample_evenly([trial for trial in able if trial.number not in strong], MAX_FAINT)
    curves, represented = (_all(curve, chosen), _all(curve, others)), describe_representatives(representatives)
    return LearningCurves(MetricAxis(metric), *curves, len(able), sweep.sign, represented)


def sample_evenly(trials: Sequence[TrialResult], most: int) -> list[TrialResult]:
    """At most so many of the trials, evenly spaced, the first and the last among them."""
    if len(trials) <= most:
        return list(trials)
    return [trials[place * (len(trials) - 1) // (most - 1)] for place in range(most)]


def _all(curve: Any, trials: Iterable[TrialResult]) -> tuple[Curve, ...]:
    return tuple(map(curve, trials))
