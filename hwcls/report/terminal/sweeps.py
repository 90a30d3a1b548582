"""The sweeps of a folder as terminal text: a line of facts for each, and its answer beneath."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hwcls.escape import printable
from hwcls.format import format_age, format_cell, format_count
from hwcls.report.terminal.columns import GAP, drop_columns, measure_columns, narrow, shorten_names, total_width
from hwcls.results.sweeps.summary import Progress, SweepSummary

if TYPE_CHECKING:
    from rich.console import Console

EXPENDABLE = ("written", "confirm", "trials")  # columns that make room for the others, the first one first
NAME, LEAST_NAME = 24, 12  # characters that the names get before these columns do, and that they get in any case
RIGHT = ("trials", "confirm", "best")  # columns of numbers


def print_sweeps(found: Sequence[SweepSummary], console: Console) -> None:
    """Print a list of sweeps."""
    from rich.cells import cell_len
    from rich.padding import Padding
    from rich.text import Text

    rows = [_cells(one) for one in found]
    widths = _fit(rows, console.width)
    short = shorten_names((row["sweep"] for row in rows), widths["sweep"])

    def line(cells: dict[str, str], style: str = "") -> Text:
        gaps = {name: " " * (width - cell_len(cells[name])) for name, width in widths.items()}
        padded = [gaps[name] + cells[name] if name in RIGHT else cells[name] + gaps[name] for name in widths]
        return Text((" " * GAP).join(padded).rstrip(), style)

    console.print(line({name: name for name in widths}, "bold"), no_wrap=True, overflow="ellipsis")
    for one, row in zip(found, rows, strict=True):
        console.print(line({**row, "sweep": short[row["sweep"]]}), no_wrap=True, overflow="ellipsis")
        console.print(Padding(Text(one.answer, style="" if one.readable else "red"), (0, 0, 0, 2), expand=False))


def _fit(rows: Sequence[dict[str, str]], width: int) -> dict[str, int]:
    """The widths of the columns that have cells; less important ones make room, and then the names do."""
    columns = [name for name in rows[0] if any(row[name] for row in rows)]
    whole = measure_columns(columns, rows)
    widths = drop_columns({**whole, "sweep": min(whole["sweep"], NAME)}, EXPENDABLE, width)
    widths["sweep"] = narrow(whole["sweep"], total_width({**widths, "sweep": whole["sweep"]}) - width, LEAST_NAME)
    return widths


def describe_trials(progress: Progress) -> str:
    """How many trials have ended, of how many: 6/12; 6 where only time ends the search."""
    return f"{progress.trials:,}" if progress.total is None else f"{progress.trials:,}/{progress.total:,}"


def describe_started(progress: Progress) -> str:
    """How many trials have started, where none has ended; else empty."""
    return f"{progress.unfinished:,} started" if progress.unfinished and not progress.trials else ""


def describe_confirm_runs(progress: Progress) -> str:
    """How many confirm runs have ended, of how many; empty without any."""
    return "" if progress.confirm_total is None else f"{progress.confirm:,}/{progress.confirm_total:,}"


def _cells(one: SweepSummary) -> dict[str, str]:
    progress, best = one.progress, one.best
    failed = f"{format_count(progress.failed, 'run')} failed" if progress.failed else ""
    return {
        "sweep": printable(one.name),
        "state": ", ".join(filter(None, (one.state, describe_started(progress), failed))),
        "trials": describe_trials(progress) if one.readable else "",
        "confirm": describe_confirm_runs(progress),
        "best": "" if best is None else format_cell(one.metric, best.value),
        "written": "" if one.written is None else format_age(time.time() - one.written),
    }
