"""The sweeps of a folder as terminal text: a line of facts for each, and its answer beneath."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hwcls.format import format_age, format_cell, format_count
from hwcls.results.sweeps.summary import Progress, SweepSummary

if TYPE_CHECKING:
    from rich.console import Console

RIGHT = ("trials", "confirm", "best")  # columns of numbers


def print_sweeps(found: Sequence[SweepSummary], console: Console) -> None:
    """Print a list of sweeps."""
    from rich.cells import cell_len
    from rich.padding import Padding
    from rich.text import Text

    rows = [_cells(one) for one in found]
    columns = [name for name in rows[0] if any(row[name] for row in rows)]
    widths = {name: max(cell_len(name), *(cell_len(row[name]) for row in rows)) for name in columns}

    def line(cells: dict[str, str]) -> str:
        gaps = {name: " " * (widths[name] - cell_len(cells[name])) for name in columns}
        padded = [gaps[name] + cells[name] if name in RIGHT else cells[name] + gaps[name] for name in columns]
        return "  ".join(padded).rstrip()

    console.print(Text(line({name: name for name in columns}), style="bold"))
    for one, row in zip(found, rows, strict=True):
        console.print(Text(line(row)))
        console.print(Padding(Text(one.answer, style="" if one.readable else "red"), (0, 0, 0, 2), expand=False))


def describe_trials(progress: Progress) -> str:
    """How many trials have ended, of how many: 6/12; 6 where only time ends the search."""
    return f"{progress.trials:,}" if progress.total is None else f"{progress.trials:,}/{progress.total:,}"


def describe_confirm_runs(progress: Progress) -> str:
    """How many confirm runs have ended, of how many; empty without any."""
    return "" if progress.confirm_total is None else f"{progress.confirm:,}/{progress.confirm_total:,}"


def _cells(one: SweepSummary) -> dict[str, str]:
    progress, best = one.progress, one.best
    state = f"{one.state}, {format_count(progress.failed, 'run')} failed" if progress.failed else one.state
    return {
        "sweep": one.name,
        "state": state,
        "trials": describe_trials(progress) if one.readable else "",
        "confirm": describe_confirm_runs(progress),
        "best": "" if best is None else format_cell(one.metric, best.value),
        "written": "" if one.written is None else format_age(time.time() - one.written),
    }
