"""Several sweeps in one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hwcls.errors import UserError
from hwcls.format import cell, duration, of
from hwcls.results.compare import leaderboard
from hwcls.results.load import SweepResults
from hwcls.training.artifacts import load_arrays

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = ("rank", "sweep", "trial", "label", "status")


def together(sweeps: Sequence[SweepResults]) -> list[dict[str, Any]]:
    """The leaderboards as one, ranked by the metric that all share, with the sweep's name in each row.

    Every row has the same columns, None where it has no value. Raises UserError where the metrics differ.
    """
    first = sweeps[0]
    for other in sweeps[1:]:
        if (other.metric, other.goal) != (first.metric, first.goal):
            what = f"{other.name} is ranked by {other.metric} ({other.goal}), {first.name} by {first.metric}"
            what += f" ({first.goal})"
            raise UserError(what, where=str(other.folder), remedy="compare sweeps of one metric")
    rows = [
        {"sweep": name, **row} for name, sweep in zip(names(sweeps), sweeps, strict=True) for row in leaderboard(sweep)
    ]
    columns = dict.fromkeys(name for row in rows for name in row)
    order = ["rank", "sweep", *(name for name in columns if name not in ("rank", "sweep", "error")), "error"]
    whole = [{name: row.get(name) for name in order if name in columns} for row in rows]
    own = first.metric
    whole.sort(key=lambda row: (row["rank"] is None, -first.sign * (row[own] or 0.0), row["sweep"], row["trial"]))
    return [row | {"rank": None if row["rank"] is None else place} for place, row in enumerate(whole, 1)]


def names(sweeps: Sequence[SweepResults]) -> list[str]:
    """The sweeps' folders by name, by their path where two share one."""
    short = [sweep.folder.resolve().name for sweep in sweeps]
    return short if len(set(short)) == len(short) else [str(sweep.folder) for sweep in sweeps]


def cautions(sweeps: Sequence[SweepResults]) -> list[str]:
    """What stands against reading the table as a comparison."""
    first, said = sweeps[0], []
    called = names(sweeps)
    for name, other in zip(called[1:], sweeps[1:], strict=True):
        if (other.data or {}).get("name") != (first.data or {}).get("name"):
            said.append(f"{name} is on other data than {called[0]}: their values do not compare")
        elif not _same_split(first, other):
            said.append(f"{name} has another split than {called[0]}: small differences may be of the split")
    return said


def print_together(sweeps: Sequence[SweepResults], console: Console, rows: int) -> None:
    """Print the best `rows` trials of all sweeps, and what stands against comparing them."""
    from rich.table import Table
    from rich.text import Text

    board, metric = together(sweeps), sweeps[0].metric
    columns = [name for name in SHOWN if board and name in board[0]] + [metric, "epoch", "epochs", "time"]
    table = Table(box=None, pad_edge=False)
    right = {"rank", "trial", metric, "epoch", "epochs", "time"}
    for name in columns:
        table.add_column(Text(name), justify="right" if name in right else "left")
    for row in board[:rows]:
        cells = row | {"time": duration(row["seconds"])}
        table.add_row(*(Text(cell(name, cells[name])) for name in columns))
    console.print(table)
    if len(board) > rows:
        console.print(Text(f"… and {of(len(board) - rows, 'more trial')}"))
    for text in cautions(sweeps):
        console.print(Text(f"note: {text}", style="yellow"))


def _same_split(one: SweepResults, other: SweepResults) -> bool:
    """Whether both trained and validated on the same images."""
    first, second = (load_arrays(sweep.folder / "splits.npz") for sweep in (one, other))
    return first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)
