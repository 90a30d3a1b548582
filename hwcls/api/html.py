"""HTML for notebooks; all text that comes from a sweep is escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hwcls.escape import printable
from hwcls.format import format_cell, format_count

if TYPE_CHECKING:
    from hwcls.results.load import SweepResults

MAX_ROWS = 10  # of the leaderboard


def escape_html(text: object) -> str:
    """Text as HTML that shows it, without control characters."""
    return html.escape(printable(str(text)))


def render_table(columns: Sequence[str], rows: Sequence[Sequence[str]], total: int) -> str:
    """A table as HTML, and how many more rows there are in all."""
    head = "".join(f"<th>{escape_html(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape_html(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    more = total - len(rows)
    rest = f"<p>… and {format_count(more, 'more row')}</p>" if more > 0 else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def render_results(sweep: SweepResults) -> str:
    """The answer of a sweep and the top of its leaderboard."""
    from hwcls.report.terminal.leaderboard import describe_settings
    from hwcls.results.answer import describe_answer
    from hwcls.results.compare import build_leaderboard
    from hwcls.results.confirm.plan import confirm_metric

    rows = [row for row in build_leaderboard(sweep) if not row.get("left_out")]
    shown = rows[:MAX_ROWS]
    settings = describe_settings(sweep, shown)
    possible = ["rank", "trial", "label", "status", "confirmed", sweep.metric, confirm_metric(sweep)]
    columns = [name for name in possible if shown and name in shown[0]]
    cells = [[*(format_cell(name, row[name]) for name in columns), settings[row["trial"]]] for row in shown]
    state = " (running)" if sweep.running else ""
    title = f"<p><b>{escape_html(sweep.name)}</b>{state}</p><p>{escape_html(describe_answer(sweep))}</p>"
    return f"<div>{title}{render_table([*columns, 'settings'], cells, len(rows)) if shown else ''}</div>"
