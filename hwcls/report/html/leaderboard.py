"""The leaderboard as the page shows it: which columns come first, which fit, and which are folded away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hwcls.format import format_cell, order_by_difference
from hwcls.report.html.sample import MAX_ROWS
from hwcls.results.compare import group_leaderboard
from hwcls.results.confirm.plan import confirm_metric
from hwcls.results.load import SweepResults
from hwcls.results.settings.importance import setting_importances

WIDTH = 1030  # pixels of the page that columns may take
LETTER, PADDING = 7.4, 24  # pixels of a letter, and of a cell around them
FIXED = 2  # columns that stay while the table scrolls
NAMES = {"epoch": "best epoch", "epochs": "epochs trained", "seconds": "seconds of training"}

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One column: its key in a row, its heading, and whether it is shown at first."""

    key: str
    heading: str
    numeric: bool
    shown: bool
    fixed: bool = False


@dataclass(frozen=True)
class Board:
    """The rows in the order of their ranks, each with the place of its alternative."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[int, Row], ...]  # (place of the alternative, row)
    total: int  # rows of leaderboard.csv
    groups: int  # alternatives


def build_board(sweep: SweepResults) -> Board:
    """At most MAX_ROWS rows, the first of each alternative; settings are shown as far as they fit."""
    groups = group_leaderboard(sweep)
    every = [row for group in groups for row in group]
    kept = [group[: MAX_ROWS // len(groups)] for group in groups] if len(every) > MAX_ROWS else groups
    rows = [(place, row) for place, group in enumerate(kept) for row in group]
    rows.sort(key=lambda one: (one[1]["rank"] is None, one[1]["rank"] or 0))
    return Board(tuple(_choose_columns(sweep, every)), tuple(rows), len(every), len(groups))


def _choose_columns(sweep: SweepResults, rows: Sequence[Row]) -> list[Column]:
    names = list(rows[0]) if rows else []
    settings = _order_settings(sweep, rows)
    first = ["rank", "label", sweep.metric, *([confirm_metric(sweep)] if sweep.confirm else []), "trial"]
    first = [name for name in first if name in names]
    hidden = _repeated(sweep, rows)
    rest = [name for name in names if name not in (*first, *settings, *hidden)]
    shown, left = set(first), WIDTH - sum(_width(rows, name, sweep) for name in first)
    for name in settings:
        left -= _width(rows, name, sweep)
        if left < 0:
            break
        shown.add(name)
    return [
        Column(name, _heading(sweep, name), _is_numeric(rows, name), name in shown, place < FIXED)
        for place, name in enumerate([*first, *settings, *rest])
    ]


def _order_settings(sweep: SweepResults, rows: Sequence[Row]) -> list[str]:
    """The searched settings, those first that explain most, then those with the most different values."""
    drawn = dict.fromkeys(name for trial in sweep.trials for name in trial.parameters)
    keys = {f"parameter/{name}" if rows and f"parameter/{name}" in rows[0] else name: name for name in drawn}
    share: dict[str, float] = {}
    for found in setting_importances(sweep).values():  # an alternative's own settings are those of its trials alone
        share |= {one.name: max(one.share, share.get(one.name, 0.0)) for one in found}
    differing = order_by_difference([{key: row.get(key) for key in keys} for row in rows])
    hidden = _repeated(sweep, rows)
    return sorted((key for key in differing if key not in hidden), key=lambda key: -share.get(keys[key], 0.0))


def _repeated(sweep: SweepResults, rows: Sequence[Row]) -> set[str]:
    """The setting that is the alternative, which has a column already."""
    name = sweep.compared or ""
    same = all(str(row.get(name)) == str(row.get("label")) for row in rows if row.get(name) is not None)
    return {name} if name and rows and name in rows[0] and same else set()


def _heading(sweep: SweepResults, name: str) -> str:
    if name == "label":
        return str(sweep.compare)
    return NAMES.get(name) or name.removeprefix("parameter/")


def _width(rows: Sequence[Row], name: str, sweep: SweepResults) -> float:
    """Pixels that a column takes; headings break after underscores and slashes."""
    words = _heading(sweep, name).replace("/", "/ ").replace("_", "_ ").split()
    cells = [len(format_cell(name, row[name])) for row in rows[:MAX_ROWS]]
    return LETTER * max([len(word) + 1 for word in words] + cells) + PADDING


def _is_numeric(rows: Sequence[Row], name: str) -> bool:
    values = [row[name] for row in rows if row[name] is not None]
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
