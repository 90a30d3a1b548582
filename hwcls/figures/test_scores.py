"""The confirmed alternatives on test: a dot and an interval each, small dots for the seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwcls.figures.drawable import NothingToShow
from hwcls.figures.metric_axis import MetricAxis, choose_digits, format_estimate
from hwcls.figures.style import BLUE, GREY, assign_looks, new_figure, short_name
from hwcls.format import format_count
from hwcls.results.answer import name_alternative
from hwcls.results.confirm.plan import confirm_metric, confirm_winners
from hwcls.results.load import ConfirmRun, SweepResults
from hwcls.results.scored_runs import describe_left_out, score_on_test
from hwcls.results.test_comparison import ConfirmComparison, compare_confirmed, compare_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, MARGIN = 0.26, 0.55  # inches: of an alternative, and of the axis below


@dataclass(frozen=True)
class ScoreRow:
    """One alternative, or with several metrics one point of the front, on test."""

    name: str
    trial: int
    look: Mapping[str, Any]  # colour and marker
    mean: float
    low: float | None  # None with fewer than two seeds that have predictions
    high: float | None
    seeds: tuple[float, ...]  # those that the mean is over


@dataclass(frozen=True)
class TestScores:
    """Every scored alternative, the best first; those without an interval last."""

    axis: MetricAxis
    rows: tuple[ScoreRow, ...]
    guessing: float | None  # what guessing gives on test
    images: int | None  # of test; None without an interval
    left_out: str = ""  # which runs, in a sentence

    __test__ = False  # pytest would take it for tests

    @property
    def caption(self) -> str:
        """The figure's caption."""
        counts = sorted({len(row.seeds) for row in self.rows})
        seeds = format_count(counts[0], "seed") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
        name = self.axis.name
        text = f"{name[:1].upper()}{name[1:]} of the confirmed models over {seeds} each; small dots are seeds."
        if self.images is not None:
            text += f" Bars are 95 % intervals (bootstrap over {self.images:,} test images, Student's t over seeds)."
        if any(row.low is None for row in self.rows):
            text += " An open marker is a mean without an interval."
        return f"{text} {self.left_out}".rstrip()

    def draw(self, width: str) -> Figure:
        """Draw it."""
        figure = new_figure(width, MARGIN + ROW * max(2, len(self.rows)))
        axes, scale = figure.subplots(), self.axis.scale
        for place, row in enumerate(self.rows):
            _draw_row(axes, place, row, scale)
        ends = [scale * end for row in self.rows for end in (row.low, row.high, *row.seeds) if end is not None]
        span = max(ends) - min(ends)
        if self.guessing is not None and scale * self.guessing > min(ends) - 0.5 * span:
            axes.axvline(scale * self.guessing, color=GREY, linewidth=0.8, linestyle=":", label="guessing")
            axes.legend(loc="best")
        axes.set_yticks(range(len(self.rows)), [short_name(row.name) for row in self.rows])
        axes.set_ylim(len(self.rows) - 0.4, -0.6)  # the best on top
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x", visible=True)
        if width == "two":
            self._write_values(axes)
        axes.set_xlabel(self.axis.title)
        return figure

    def _write_values(self, axes: Axes) -> None:
        """The numbers, right of the axes."""
        digits = choose_digits([(row.low, row.high) for row in self.rows], self.axis.scale)
        texts = [format_estimate((row.mean, row.low, row.high), self.axis.scale, digits) for row in self.rows]
        right = axes.secondary_yaxis("right")
        right.set_yticks(range(len(texts)), texts)
        right.tick_params(length=0)
        right.spines["right"].set_visible(False)


def collect_test_scores(sweep: SweepResults) -> TestScores:
    """The scores on test of the winners, or of the points of the front; raises NothingToShow without any."""
    scored, compared = score_on_test(sweep), compare_on_test(sweep)
    if not scored:
        raise NothingToShow("no confirm run has been scored on test")
    looks, rows = assign_looks(sweep), []
    for name, one in scored.items():
        look = looks.get(
            None if sweep.compare is None else one.runs[0].label, {"color": BLUE, "marker": "o", "linestyle": "-"}
        )
        named, (low, high) = name_scored(sweep, name, one.runs), one.interval
        rows.append(ScoreRow(named, one.runs[0].run.number, look, one.mean, low, high, one.values))
    rows.sort(key=lambda row: (row.low is None, -sweep.sign * row.mean))
    guessing, images = (compared.guessing, compared.comparison.images) if compared else (None, None)
    return TestScores(MetricAxis(confirm_metric(sweep)), tuple(rows), guessing, images, describe_left_out(scored))


def compare_on_test(sweep: SweepResults) -> ConfirmComparison | None:
    """The comparison of the winners, or of the points of the front."""
    return compare_points(sweep) if sweep.costs else compare_confirmed(sweep)


def name_scored(sweep: SweepResults, name: str, runs: Sequence[ConfirmRun]) -> str:
    """An alternative as a paper names it; without `compare`, or with several metrics, its trial."""
    if sweep.costs:
        return name if sweep.compare is None else f"{name_alternative(sweep, runs[0].label)}, {name}"
    return f"trial {confirm_winners(sweep)[name]}" if sweep.compare is None else name_alternative(sweep, name)


def _draw_row(axes: Axes, place: int, row: ScoreRow, scale: float) -> None:
    colour = row.look["color"]
    if row.low is not None and row.high is not None:
        axes.plot([scale * row.low, scale * row.high], [place, place], color=colour, linewidth=1.6)
    if len(row.seeds) > 1:  # below the interval, where they do not hide it
        axes.plot([scale * s for s in row.seeds], [place + 0.25] * len(row.seeds), ".", color=colour, ms=3, alpha=0.6)
    face = "white" if row.low is None else colour
    axes.plot([scale * row.mean], [place], **row.look, markersize=5, markerfacecolor=face)
