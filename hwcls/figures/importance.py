"""The share of the differences between trials that each setting explains, against chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwcls.figures.drawable import NothingToShow
from hwcls.figures.metric_axis import MetricAxis
from hwcls.figures.style import BLACK, GREY, assign_looks, new_figure, short_name
from hwcls.format import format_count
from hwcls.results.answer import name_alternative
from hwcls.results.load import SweepResults
from hwcls.results.settings.importance import MIN_TRIALS, Importance, setting_importances
from hwcls.results.settings.marginal_effects import trials_with_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_SETTINGS = 8  # of a group
ACROSS = 3  # panels in a row of a figure of two columns
BAR, MARGIN = 0.17, 0.28  # inches: of a setting, and of the title of a panel


@dataclass(frozen=True)
class Group:
    """The settings of the whole sweep or of one alternative, the longest bar first."""

    name: str
    look: Mapping[str, Any]
    rows: tuple[Importance, ...]
    left_out: int  # less important settings


@dataclass(frozen=True)
class ImportanceFigure:
    """Every group with enough trials."""

    axis: MetricAxis
    groups: tuple[Group, ...]

    @property
    def caption(self) -> str:
        """The figure's caption."""
        text = f"Share of the differences in {self.axis.name} between trials that each setting explains, by ranks."
        text += " Black marks: what chance alone stays below in 95 % of permutations; pale bars do not exceed it."
        more = sum(group.left_out for group in self.groups)
        return f"{text} {format_count(more, 'less important setting')} not shown." if more else text

    def draw(self, width: str) -> Figure:
        """Draw it."""
        across = 1 if width == "one" else min(ACROSS, len(self.groups))
        rows = [self.groups[start : start + across] for start in range(0, len(self.groups), across)]
        heights = [BAR * max(len(group.rows) for group in row) for row in rows]  # of the axes alone
        figure = new_figure(width, 0.45 + MARGIN * len(rows) + sum(heights))
        grid = figure.subplots(len(rows), across, squeeze=False, sharex=True, height_ratios=heights)
        for axes in grid.flat[len(self.groups) :]:
            axes.set_visible(False)
        for place, (axes, group) in enumerate(zip(grid.flat, self.groups, strict=False)):
            _draw_group(axes, group, titled=len(self.groups) > 1)
            axes.tick_params(axis="x", labelbottom=place + across >= len(self.groups))
        most = max(max(one.share, one.band) for group in self.groups for one in group.rows)
        grid.flat[0].set_xlim(0, 105 * max(most, 0.01))  # all share it
        label = "explained share of the differences (%)"
        if across == 1:
            grid.flat[-1].set_xlabel(label)
        else:
            figure.supxlabel(label, fontsize=8)
        return figure


def collect_importance(sweep: SweepResults) -> ImportanceFigure:
    """The importances of the sweep's settings; raises NothingToShow with too few trials."""
    found, looks = setting_importances(sweep), assign_looks(sweep)
    if not found:
        count = format_count(len(trials_with_value(sweep)), "trial")
        raise NothingToShow(f"{count} with a value are too few ({MIN_TRIALS} that differ in a setting are needed)")
    groups = []
    for label, rows in found.items():
        count = format_count(len(trials_with_value(sweep, label)), "trial")
        look = looks[label] if label is not None else {"color": GREY}
        title = f"all {count}" if label is None else f"{short_name(name_alternative(sweep, label))}, {count}"
        shown = sorted(rows[:MAX_SETTINGS], key=lambda one: -one.share)  # the rows come by their significance
        groups.append(Group(title, look, tuple(shown), len(rows[MAX_SETTINGS:])))
    return ImportanceFigure(MetricAxis(sweep.metric), tuple(groups))


def _draw_group(axes: Axes, group: Group, *, titled: bool) -> None:
    for place, one in enumerate(group.rows):
        share = 100 * max(0.0, one.share)
        axes.barh(place, share, 0.7, color=group.look["color"], alpha=1.0 if one.matters else 0.35)
        band = 100 * max(0.0, one.band)
        axes.plot([band, band], [place - 0.35, place + 0.35], color=BLACK, linewidth=0.8)
    axes.set_yticks(range(len(group.rows)), [short_name(one.name) for one in group.rows])
    axes.set_ylim(len(group.rows) - 0.5, -0.5)  # the longest bar on top
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)
    if titled:
        axes.set_title(group.name, loc="left")
