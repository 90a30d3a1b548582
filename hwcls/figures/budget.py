"""Budget: the expected best of k trials, and the best so far by trials, epochs and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from hwcls.figures.drawable import NothingToShow
from hwcls.figures.metric_axis import MetricAxis
from hwcls.figures.style import add_legend, assign_looks, count_on_axis, label_shared_axis, new_figure
from hwcls.results.answer import name_alternative
from hwcls.results.expected_best import collect_trial_sequences
from hwcls.results.load import SweepResults

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNITS = ((2 * 86400, 86400, "days"), (2 * 3600, 3600, "hours"), (2 * 60, 60, "minutes"))  # at least, seconds, name
HEIGHT = 1.6  # inches of a row of panels
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Spending:
    """One alternative: its ended trials in the order of their numbers, failed ones without a result."""

    name: str
    look: Mapping[str, Any]
    expected: tuple[tuple[int, float], ...]  # k, the mean best of k of its trials in random order
    best: tuple[float | None, ...]  # of the first k trials
    epochs: tuple[int, ...]  # spent by the first k
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Budget:
    """Every alternative with a value."""

    axis: MetricAxis
    rows: tuple[Spending, ...]

    @property
    def caption(self) -> str:
        """The figure's caption."""
        text = f"Best {self.axis.name} by budget: the mean best of k trials in random order, and the best so far by"
        text += " trials, epochs and training time, trials in the order of their numbers"
        return f"{text}, for each alternative." if len(self.rows) > 1 else f"{text}."

    def time_unit(self) -> tuple[float, str]:
        """Seconds of the unit of the time axis, and its name."""
        most = max(row.seconds[-1] for row in self.rows)
        return next(((size, name) for least, size, name in UNITS if most >= least), (1, "seconds"))

    def panels(self) -> list[tuple[str, list[Points], bool]]:
        """The name of each x axis, the points of each alternative, and whether they are steps."""
        size, unit = self.time_unit()
        trials = [range(1, len(row.best) + 1) for row in self.rows]
        spent: list[tuple[str, list[Sequence[float]]]] = [
            ("trials (as run)", list(trials)),
            ("epochs", [row.epochs for row in self.rows]),
            (f"training time ({unit})", [[value / size for value in row.seconds] for row in self.rows]),
        ]
        steps = [(name, [_known(x, row.best) for x, row in zip(xs, self.rows, strict=True)]) for name, xs in spent]
        first: tuple[str, list[Points], bool] = ("trials (expected best)", [row.expected for row in self.rows], False)
        return [first, *((name, points, True) for name, points in steps)]

    def draw(self, width: str) -> Figure:
        """Draw it."""
        panels = self.panels()
        across = 2 if width == "one" else len(panels)
        names, scale = [row.name for row in self.rows], self.axis.scale
        figure = new_figure(width, 0.15 + HEIGHT * len(panels) / across, names)
        grid = figure.subplots(len(panels) // across, across, sharey=True, squeeze=False)
        handles: list[Any] = []
        label_shared_axis(figure, f"best {self.axis.title}")
        for axes, (name, lines, steps) in zip(grid.flat, panels, strict=True):
            style = "steps-post" if steps else "default"
            drawn = []
            for row, points in zip(self.rows, lines, strict=True):
                x, y = [x for x, _ in points], [scale * y for _, y in points]
                drawn += axes.plot(x, y, **row.look, drawstyle=style, markevery=[len(x) - 1], markersize=3.5)
            handles = handles or drawn
            axes.set_xlabel(name)
            count_on_axis(axes)
            axes.margins(x=0.06)
        add_legend(figure, handles, names)
        return figure


def collect_budget(sweep: SweepResults) -> Budget:
    """Cost and best value of each alternative's trials; raises NothingToShow where no trial has ended with a value."""
    looks, rows = assign_looks(sweep), []
    for found in collect_trial_sequences(sweep):
        trials = [trial for trial in sweep.trials if trial.label == found.label and trial.ended]
        counts = found.plot_points()
        rows.append(
            Spending(
                "trials" if found.label is None else name_alternative(sweep, found.label),
                looks[found.label],
                tuple(zip(counts, found.expected_best(counts), strict=True)),
                tuple(found.best_so_far()),
                tuple(accumulate(len(trial.records) for trial in trials)),
                tuple(accumulate(trial.seconds for trial in trials)),
            )
        )
    if not rows:
        raise NothingToShow("no trial has ended with a value yet")
    return Budget(MetricAxis(sweep.metric), tuple(rows))


def _known(x: Sequence[float], best: Sequence[float | None]) -> Points:
    """The points at which there is a best."""
    return [(place, value) for place, value in zip(x, best, strict=True) if value is not None]
