"""Each setting against the metric: one panel a setting, one dot a trial, coloured by alternative."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwcls.figures.drawable import NothingToShow
from hwcls.figures.metric_axis import MetricAxis
from hwcls.figures.settings_order import order_settings
from hwcls.figures.style import add_legend, assign_looks, label_shared_axis, new_figure, short_name
from hwcls.format import format_count, format_number, join_words
from hwcls.results.answer import name_alternative
from hwcls.results.load import SweepResults, TrialResult, is_finite
from hwcls.results.settings.marginal_effects import log_settings, searched_ranges, trials_with_value
from hwcls.statistics import range_of_most

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PANELS = 12
MAX_CATEGORIES = 12  # values of a setting without an order; one with more is left out
MAX_STEPS = 6  # values of a whole number that are shown as categories, alternatives side by side
ACROSS = {"one": 2, "two": 4}  # panels in a row
HEIGHT = 1.45  # inches of a row
SPREAD = 0.6  # of the distance between two categories, which the alternatives share
NAME = 10  # letters of a category
EDGE = 0.08  # of the axis, beyond the last values


@dataclass(frozen=True)
class Panel:
    """One setting and the trials that have it."""

    setting: str
    log: bool
    categories: tuple[str, ...]  # in order; none for numbers
    points: Mapping[str | None, tuple[tuple[float, float], ...]]  # by alternative: number or category's place, value


@dataclass(frozen=True)
class Slices:
    """The settings of a sweep, the most important first."""

    axis: MetricAxis
    looks: Mapping[str | None, Mapping[str, Any]]
    names: Mapping[str | None, str]
    panels: tuple[Panel, ...]
    left_out: tuple[str, ...]  # settings beyond MAX_PANELS or MAX_CATEGORIES
    values: tuple[float, ...]  # of all trials
    sign: int  # 1 where more is better

    @property
    def caption(self) -> str:
        """The figure's caption."""
        text = f"Best {self.axis.name} of {format_count(len(self.values), 'trial')} by setting; a dot is a trial."
        if end := self.worst_shown():
            beyond = format_count(sum(self.sign * value < self.sign * end for value in self.values), "trial")
            text += f" Hollow: {beyond} beyond the axis, at its edge."
        return f"{text} Not shown: {join_words(self.left_out)}." if self.left_out else text

    def worst_shown(self) -> float | None:
        """Where the axis ends so that a few bad trials do not hide the others; None: it shows all."""
        found = range_of_most(self.values, self.sign)
        return None if found is None else found[0 if self.sign > 0 else 1]

    def draw(self, width: str) -> Figure:
        """Draw it."""
        across = min(ACROSS[width], len(self.panels))
        rows = -(-len(self.panels) // across)
        known = [label for label in self.looks if any(label in panel.points for panel in self.panels)]
        names = [self.names[label] for label in known]
        figure = new_figure(width, 0.2 + HEIGHT * rows, names)
        grid = figure.subplots(rows, across, sharey=True, squeeze=False)
        handles: dict[str | None, Any] = {}
        for place, axes in enumerate(grid.flat):
            if place >= len(self.panels):
                axes.set_visible(False)
                continue
            self._draw_panel(axes, self.panels[place], handles)
        self._limit(grid.flat[0])  # all share it
        label_shared_axis(figure, self.axis.title)
        add_legend(figure, [handles[label] for label in known], names)
        return figure

    def _draw_panel(self, axes: Axes, panel: Panel, handles: dict[str | None, Any]) -> None:
        scale, groups, end = self.axis.scale, len(panel.points), self.worst_shown()
        for place, (label, points) in enumerate(panel.points.items()):
            aside = SPREAD * ((place + 0.5) / groups - 0.5) if panel.categories else 0.0
            colour, marker = self.looks[label]["color"], self.looks[label]["marker"]
            shown = [(x + aside, scale * y) for x, y in points if end is None or self.sign * y >= self.sign * end]
            beyond = [x + aside for x, y in points if end is not None and self.sign * y < self.sign * end]
            x, y = [x for x, _ in shown], [y for _, y in shown]
            handles[label] = axes.scatter(x, y, s=10, alpha=0.65, linewidths=0, c=colour, marker=marker)
            if beyond:
                edge = [scale * self._edge()] * len(beyond)
                axes.scatter(beyond, edge, s=9, facecolors="none", edgecolors=colour, linewidths=0.6, marker=marker)
        axes.set_xlabel(short_name(panel.setting))
        if panel.categories:
            _name_categories(axes, panel.categories)
        elif panel.log:
            _scale_by_log(axes)
        else:
            _scale_by_number(axes)

    def _edge(self) -> float:
        """Where the trials beyond the axis are drawn."""
        best, end = max(self.values, key=lambda value: self.sign * value), self.worst_shown()
        return best if end is None else end - EDGE * (best - end)

    def _limit(self, axes: Axes) -> None:
        if self.worst_shown() is not None:
            best = max(self.values, key=lambda value: self.sign * value)
            ends = [self._edge() - (best - self._edge()) * EDGE, best + (best - self._edge()) * EDGE]
            axes.set_ylim(*(self.axis.scale * end for end in sorted(ends)))


def collect_slices(sweep: SweepResults) -> Slices:
    """The settings that vary; raises NothingToShow without two trials that differ in a setting."""
    trials = trials_with_value(sweep)
    ordered = order_settings(sweep, trials)
    if not ordered:
        reason = "no trial has a value yet" if not trials else "the trials with a value do not differ in a setting"
        raise NothingToShow(reason)
    panels, left_out = list[Panel](), list[str]()
    for name in ordered:
        panel = _panel(sweep, name, trials)
        if panel is None or len(panels) == MAX_PANELS:
            left_out.append(name)
        else:
            panels.append(panel)
    if not panels:
        raise NothingToShow("every setting has too many values without an order")
    names = {label: "trials" if label is None else name_alternative(sweep, label) for label in sweep.labels}
    values = tuple(trial.value for trial in trials if trial.value is not None)
    shown = (tuple(panels), tuple(left_out), values, sweep.sign)
    return Slices(MetricAxis(sweep.metric), assign_looks(sweep), names, *shown)


def _panel(sweep: SweepResults, name: str, trials: Sequence[TrialResult]) -> Panel | None:
    """One setting; None where it has too many values without an order."""
    have = [trial for trial in trials if trial.parameters.get(name) is not None]
    ranges, values = searched_ranges(sweep), {str(trial.parameters[name]): trial.parameters[name] for trial in have}
    numeric = all(is_finite(value) for value in values.values())
    few, steps = len(values) <= MAX_CATEGORIES, name in ranges and ranges[name].integer and len(values) <= MAX_STEPS
    if numeric and not steps and (name in ranges or not few):
        categories: list[str] = []
    elif few:
        categories = sorted(values, key=lambda word: (values[word] if numeric else 0, word))
    else:
        return None
    points: dict[str | None, list[tuple[float, float]]] = {}
    for label in sweep.labels:
        for trial in have:
            if trial.label == label and trial.value is not None:
                own = trial.parameters[name]
                x = float(categories.index(str(own)) if categories else own)
                points.setdefault(label, []).append((x, trial.value))
    log = not categories and (name in log_settings(sweep) or (name not in ranges and _spans_powers(values.values())))
    shown = tuple(short_name(format_number(values[word]), NAME) for word in categories)
    return Panel(name, log, shown, {label: tuple(own) for label, own in points.items()})


def _spans_powers(values: Iterable[float]) -> bool:
    """Whether values whose range is not known are read best on a log scale."""
    known = list(values)
    return min(known) > 0 and max(known) >= 100 * min(known)


def _name_categories(axes: Axes, categories: Sequence[str]) -> None:
    slanted = sum(map(len, categories)) > 14
    look: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axes.set_xticks(range(len(categories)), categories, **look)
    axes.set_xlim(-0.6, len(categories) - 0.4)


def _scale_by_log(axes: Axes) -> None:
    """Powers of ten, written as plain text; mathtext is off."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(LogLocator(numticks=4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("e-0", "e-")))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _scale_by_number(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, min_n_ticks=2))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
