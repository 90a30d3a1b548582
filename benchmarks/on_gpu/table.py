"""The rows as lines of a table, and what they are to reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.on_gpu.part import Part, Row

FIRST, WIDTH = 34, 13
Rows = Mapping[str, Row]


def header(name: str, part: Part) -> str:
    """The line above a part's rows."""
    return f"{name:{FIRST}s}" + "".join(f"{title:>{WIDTH}s}" for title, _ in part.columns.values())


def line(item: str, row: Row, part: Part) -> str:
    """One row; a part without columns, and a row that was not measured, as words."""
    if not part.columns or not row.keys() & part.columns.keys():
        return f"{item:{FIRST}s} " + ", ".join(f"{key} {_short(value)}" for key, value in row.items())
    cells = [_cell(row.get(column), form) for column, (_, form) in part.columns.items()]
    return f"{item:{FIRST}s}" + "".join(f"{cell:>{WIDTH}s}" for cell in cells)


def _cell(value: Any, form: str) -> str:
    return "-" if value is None else format(value, form)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Goal:
    """A number that hwcls is to reach."""

    what: str
    value: float
    found: Callable[[Rows], float]  # raises KeyError, TypeError where a row is missing or not measured
    at_most: bool = False

    def line(self, rows: Rows) -> str | None:
        """What was measured beside it; None where nothing was."""
        try:
            found = self.found(rows)
        except (KeyError, TypeError):
            return None
        reached = found <= self.value if self.at_most else found >= self.value
        number = f"{found:,.0f}" if found >= 100 else f"{found:.3g}"
        bound = "at most" if self.at_most else "at least"
        return f"{'reached' if reached else 'missed':8s}{self.what}: {number}, {bound} {self.value:,g}"


def _speed(name: str) -> Callable[[Rows], float]:
    """The fastest of a model's modes."""

    def found(rows: Rows) -> float:
        measured = (row for key, row in rows.items() if key.startswith(f"steps/{name}/") and "step_ms" in row)
        speeds = [row["images_per_second"] for row in measured]
        if not speeds:
            raise KeyError(name)
        return float(max(speeds))

    return found


def _against(name: str, other: str) -> Callable[[Rows], float]:
    return lambda rows: rows[name]["images_per_second"] / rows[other]["images_per_second"]


GOALS = (
    Goal("ResNet-18, 64 px, standard stem, images/s", 150_000, _speed("resnet18")),
    Goal("ResNet-18, 64 px, 3x3 stem, images/s", 20_000, _speed("resnet18-small")),
    Goal("SimpleCNN, 28 px, images/s", 1_000_000, _speed("simple_cnn")),
    Goal(
        "trials per hour, 8 SimpleCNN trials side by side against one",
        4,
        lambda rows: rows["processes/8"]["trials_per_hour"] / rows["processes/1"]["trials_per_hour"],
    ),
    Goal("seconds between two SimpleCNN trials", 0.3, lambda rows: rows["turnaround/simple_cnn"]["seconds"], True),
    Goal("seconds between two ResNet-18 trials", 0.3, lambda rows: rows["turnaround/resnet18"]["seconds"], True),
    Goal(
        "share of a ResNet-18 trial at 64 px without training",
        0.05,
        lambda rows: rows["epochs/resnet18"]["evaluation_share"] + rows["epochs/resnet18"]["checkpoint_share"],
        True,
    ),
    Goal(
        "seconds for 30 epochs of ResNet-18 on CIFAR-10's shape",
        60,
        lambda rows: 30 * rows["epochs/cifar-resnet18"]["epoch_seconds"],
        True,
    ),
    *(
        Goal(f"times {loop}'s speed, {name}", 1, _against(f"loops/{name}/hwcls", f"loops/{name}/{loop}"))
        for name in ("resnet18", "simple_cnn")
        for loop in ("tutorial", "lightning", "timm", "torchvision")
    ),
)
