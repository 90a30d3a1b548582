"""Which columns of a table fit a terminal, and texts cut to the width of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

GAP = 2  # characters between two columns
JOINT = " · "  # of the facts in a line


@dataclass(frozen=True)
class Column:
    """A column that needs `least` characters and can use up to `most`."""

    name: str
    least: int
    most: int = 0  # 0: no more than `least`


def fit_columns(columns: Sequence[Column], width: int) -> dict[str, int]:
    """The widths of the first columns that fit, the first one even where it does not.

    What is left of the width goes to those that can use it, in the same order.
    """
    widths: dict[str, int] = {}
    space = width + GAP
    for column in columns:
        if widths and column.least + GAP > space:
            break
        widths[column.name] = column.least
        space -= column.least + GAP
    for column in columns[: len(widths)]:
        if (more := min(column.most - column.least, space)) > 0:
            widths[column.name] += more
            space -= more
    return widths


def measure_columns(names: Iterable[str], rows: Iterable[Mapping[str, str]]) -> dict[str, int]:
    """The characters that the cells of each column need, its header among them."""
    rows = list(rows)
    return {name: max([cell_len(name), *(cell_len(row[name]) for row in rows)]) for name in names}


def total_width(widths: Mapping[str, int]) -> int:
    """The characters of columns and of what is between them."""
    return sum(widths.values()) + GAP * (len(widths) - 1)


def drop_columns(widths: Mapping[str, int], expendable: Iterable[str], width: int) -> dict[str, int]:
    """The columns without as many of the expendable ones, the first one first, as the others need to fit."""
    kept = dict(widths)
    for name in expendable:
        if total_width(kept) <= width:
            break
        kept.pop(name, None)
    return kept


def narrow(width: int, lack: int, least: int) -> int:
    """The width of a column that gives `lack` characters to others, and keeps `least` of those that it has."""
    return min(width, max(least, width - lack))


def shorten(text: str, width: int, end: int | None = None) -> str:
    """A text cut to at most `width` characters of a terminal, `end` of them its last ones; by default half of them."""
    if cell_len(text) <= width:
        return text
    end = (width - 1) // 2 if end is None else end
    start = max(0, width - 1 - end)
    return f"{set_cell_size(text, start).rstrip()}…{set_cell_size(text[::-1], end)[::-1].lstrip()}"


def shorten_names(names: Iterable[str], width: int) -> dict[str, str]:
    """Names cut alike: in the middle, at the end or at the start, wherever they remain different."""
    names = set(names)
    for end in (None, 0, max(0, width - 1)):
        found = {name: shorten(name, width, end) for name in names}
        if len(set(found.values())) == len(names):
            return found
    return {name: shorten(name, width) for name in names}


def fill_lines(facts: Iterable[str], width: int, joint: str = JOINT) -> list[str]:
    """Facts in lines of at most `width` characters, of which none is broken; a longer one has its own line."""
    lines: list[str] = []
    for fact in facts:
        if lines and cell_len(lines[-1] + joint + fact) <= width:
            lines[-1] += joint + fact
        else:
            lines.append(fact)
    return lines
