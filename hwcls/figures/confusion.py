"""The confusion matrix of the best confirmed model on test, over its seeds, classes in the order of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwcls import metrics
from hwcls.figures.drawable import NothingToShow
from hwcls.figures.style import new_figure, short_name
from hwcls.figures.test_scores import collect_test_scores
from hwcls.format import format_count
from hwcls.results.diagnostics import class_names
from hwcls.results.load import SweepResults
from hwcls.results.scored_runs import score_on_test
from hwcls.training.artifacts import load_arrays

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZES = {"one": 2.8, "two": 5.4}  # inches, the height
SIDE = {"one": 2.2, "two": 4.7}  # inches, of the matrix itself, about
LINE = 0.125  # inches that the name of a class needs
CELL = 0.2  # inches that a number needs
MAX_VECTOR = 40  # classes; more cells are an image
NAME = 14  # letters of a class


@dataclass(frozen=True, eq=False)
class Confusion:
    """K classes, over S seeds."""

    name: str  # of the alternative
    classes: tuple[str, ...]
    counts: NDArray[Any]  # (K, K) over the seeds: rows true, columns predicted
    seeds: int

    @property
    def shares(self) -> NDArray[Any]:
        """(K, K) of the images of each true class; 0 for a class without images."""
        return np.asarray(self.counts / np.maximum(self.counts.sum(1, keepdims=True), 1))

    @property
    def caption(self) -> str:
        """The figure's caption."""
        images = int(self.counts.sum()) // max(self.seeds, 1)
        text = f"Confusion of {self.name} on {images:,} test images, over {format_count(self.seeds, 'seed')}:"
        return f"{text} percent of each true class (row) predicted as each class (column)."

    def name_every(self, width: str) -> int:
        """Every how many classes one is named, so that names do not overlap."""
        return max(1, int(np.ceil(len(self.classes) * LINE / SIDE[width])))

    def draw(self, width: str) -> Figure:
        """Draw it."""
        figure = new_figure(width, SIZES[width])
        axes, count, shares = figure.subplots(), len(self.classes), 100 * self.shares
        look: dict[str, Any] = {"cmap": "Blues", "vmin": 0, "vmax": 100}
        edges = np.arange(count + 1) - 0.5
        if count <= MAX_VECTOR:
            shown: Any = axes.pcolormesh(edges, edges, shares, **look)
        else:
            shown = axes.imshow(shares, interpolation="nearest", **look)
        axes.set_aspect("equal")
        axes.set_xlim(-0.5, count - 0.5)
        axes.set_ylim(count - 0.5, -0.5)  # the first class on top
        axes.grid(visible=False)
        axes.spines[["top", "right"]].set_visible(True)
        self._name_classes(axes, self.name_every(width))
        if SIDE[width] / count >= CELL:
            _write_numbers(axes, shares, 6 if width == "one" else 8)
        figure.colorbar(shown, ax=axes, label="% of true class", shrink=0.8, pad=0.02).outline.set_linewidth(0.6)
        return figure

    def _name_classes(self, axes: Axes, every: int) -> None:
        places = range(0, len(self.classes), every)
        names = [short_name(self.classes[place], NAME) for place in places]
        upright = any(len(name) > 2 for name in names)
        axes.set_xticks(places, names, rotation=90 if upright else 0)
        axes.set_yticks(places, names)
        axes.tick_params(length=1.5)
        which = "" if every == 1 else f" (one in {every} named)"
        axes.set_xlabel(f"predicted class{which}")
        axes.set_ylabel(f"true class{which}")


def collect_confusion(sweep: SweepResults) -> Confusion:
    """The best alternative on test; raises NothingToShow where no predictions on test are there."""
    best = collect_test_scores(sweep).rows[0]
    runs = next(one.runs for one in score_on_test(sweep).values() if one.runs[0].run.number == best.trial)
    names = class_names(sweep)
    total, seeds = None, 0
    for run in runs:
        stored = load_arrays(run.run.folder / "test_predictions.npz")
        labels, scores = stored.get("labels"), stored.get("scores")  # (N,), (N, K)
        if labels is None or scores is None or scores.ndim != 2 or labels.shape != scores.shape[:1]:
            continue
        names = names or [str(place) for place in range(scores.shape[1])]
        if scores.shape[1] == len(names):
            guess = metrics.predicted_classes(scores.astype(np.float32), labels)
            matrix = metrics.confusion_matrix(labels, guess, len(names))  # (K, K)
            total, seeds = (matrix if total is None else total + matrix), seeds + 1
    if total is None:
        raise NothingToShow("the confirm runs have no predictions on test")
    return Confusion(best.name, tuple(names), total, seeds)


def _write_numbers(axes: Axes, shares: NDArray[Any], size: int) -> None:
    """Whole percents in the cells, none where they round to 0."""
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.5:
            colour = "white" if share > 55 else "black"
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=size, color=colour)
