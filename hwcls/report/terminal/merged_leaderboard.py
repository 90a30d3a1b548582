"""The leaderboards of several sweeps as one terminal table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hwcls.format import format_cell, format_count, format_duration
from hwcls.results.answer import describe_answer
from hwcls.results.compare import find_cautions, have_same_data, merge_leaderboards, name_sweeps
from hwcls.results.load import SweepResults
from hwcls.results.representatives import choose_representatives

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = ("rank", "sweep", "trial", "label", "status")
EXPENDABLE = ("epoch", "epochs", "time", "status")  # columns that make room for the others, the first one first
NAMES, LEAST_NAME = ("label", "sweep"), 8  # columns that are cut, the first one first, and how far


def print_merged_leaderboard(sweeps: Sequence[SweepResults], console: Console, rows: int) -> None:
    """Print why the sweeps may not be comparable, their best `rows` trials, and what was confirmed."""
    from rich.table import Table
    from rich.text import Text

    from hwcls.report.terminal.columns import drop_columns, measure_columns, narrow, shorten_names, total_width

    board, metric = merge_leaderboards(sweeps), sweeps[0].metric
    for text in find_cautions(sweeps):
        console.print(Text(f"note: {text}", style="yellow"))
    columns = [name for name in SHOWN if board and name in board[0]] + [metric, "epoch", "epochs", "time"]
    shown = board[:rows] if have_same_data(sweeps) else _share_rows(board, rows)
    timed = [row | {"time": format_duration(row["seconds"])} for row in shown]
    cells = [{name: format_cell(name, row[name]) for name in columns} for row in timed]
    widths = drop_columns(measure_columns(columns, cells), EXPENDABLE, console.width)
    for name in NAMES:
        if name in widths:
            widths[name] = narrow(widths[name], total_width(widths) - console.width, LEAST_NAME)
            short = shorten_names((row[name] for row in cells), widths[name])
            cells = [{**row, name: short[row[name]]} for row in cells]
    table = Table(box=None, pad_edge=False)
    for name in widths:
        table.add_column(Text(name), justify="left" if name in (*NAMES, "status") else "right", no_wrap=True)
    for row in cells:
        table.add_row(*(Text(row[name]) for name in widths))
    console.print(table)
    if more := len(board) - len(shown):
        console.print(Text(f"… and {format_count(more, 'more trial')}"))
    for name, sweep in zip(name_sweeps(sweeps), sweeps, strict=True):
        if any(one.confirmed for one in choose_representatives(sweep)):
            console.print(Text(f"{name}: {describe_answer(sweep)}"))


def _share_rows(board: list[dict[str, Any]], rows: int) -> list[dict[str, Any]]:
    """The first rows of each sweep, as many of each."""
    names = list(dict.fromkeys(row["sweep"] for row in board))
    each = max(1, -(-rows // max(1, len(names))))
    return [row for name in names for row in [row for row in board if row["sweep"] == name][:each]]
