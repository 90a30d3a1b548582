"""The results of one sweep as terminal tables: alternatives, best trials, failures and the answer."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Any

from hwcls.format import format_cell, format_count, format_duration, format_metric, format_number, order_by_difference
from hwcls.results.answer import describe_answer
from hwcls.results.compare import build_alternatives, group_leaderboard, is_overtaken
from hwcls.results.confirm.describe import describe_confirm
from hwcls.results.front.describe import describe_front
from hwcls.results.load import SweepResults
from hwcls.results.notes.changes import describe_left_out
from hwcls.results.notes.find import find_notes
from hwcls.results.representatives import choose_representatives
from hwcls.results.test_comparison import compare_confirmed

if TYPE_CHECKING:
    from rich.console import Console

EXPENDABLE = ("epoch", "epochs", "time")  # columns that make room for the settings, the first one first
EXPENDABLE_OF_ALTERNATIVES = ("time", "epochs", "trials", "failed", "trial", "search leader")
SETTINGS = 30  # characters that the settings get before these columns do
LEAST_LABEL = 12  # characters of an alternative's name


def print_leaderboard(sweep: SweepResults, console: Console, rows: int = 10) -> None:
    """Print the alternatives, the best `rows` trials by alternative, what failed, and the answer."""
    from rich.text import Text

    console.print(Text(sweep.name, style="bold"))
    if sweep.compare:
        _print_alternatives(sweep, console)
    shown = _print_trials(sweep, console, rows)
    failed = [trial for trial in sweep.trials if trial.failed]
    if more := len(sweep.trials) - shown - len(failed):
        console.print(Text(f"… and {format_count(more, 'more trial')} in leaderboard.csv"))
    for trial in failed:
        console.print(Text(f"trial {trial.number} failed: {trial.error}", style="red"))
    for text in describe_left_out(sweep):
        console.print(Text(f"left out: {text}"))
    console.print(Text(describe_answer(sweep)))
    for text in describe_front(sweep):
        console.print(Text(text))
    for text in describe_confirm(sweep):
        console.print(Text(text))
    for note in find_notes(sweep):
        console.print(Text(f"note: {note}", style="yellow"))


def _print_alternatives(sweep: SweepResults, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    from hwcls.report.terminal.columns import drop_columns, measure_columns

    rows = _list_alternatives(sweep)
    if not rows:
        return
    first = next(iter(rows[0]))
    widths = drop_columns(measure_columns(rows[0], rows), EXPENDABLE_OF_ALTERNATIVES, console.width)
    table = Table(box=None, pad_edge=False)
    for name in widths:
        is_first = name == first  # the only one that may take several lines
        table.add_column(Text(name), justify="left" if is_first else "right", no_wrap=not is_first, overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[name]) for name in widths))
    console.print(table)
    console.print()


def _list_alternatives(sweep: SweepResults) -> list[dict[str, str]]:
    """The cells of each alternative, by column."""
    found, test = build_alternatives(sweep), compare_confirmed(sweep)
    failed = any(row["failed"] for row in found)
    overtaken = any(is_overtaken(sweep, row) for row in found)
    cells = []
    for row in found:
        own = {str(sweep.compared): format_number(row["label"]), "trials": str(row["trials"])}
        own |= {"failed": str(row["failed"])} if failed else {}
        own |= {"epochs": str(row["epochs"]), "time": format_duration(row["seconds"])}
        own |= {"trial": format_number(row["trial"])} if sweep.confirm else {}
        own[sweep.metric] = format_cell(sweep.metric, row["value"])
        if test:
            ends = (row["low"], row["high"])
            own["on test"] = "–" if None in ends else format_metric(test.metric, row[test.metric])
            interval = " to ".join(format_metric(test.metric, end) for end in ends if end is not None)
            own["95 % interval"] = "–" if None in ends else interval
        if overtaken:
            leader = f"trial {row['best_trial']}, {format_cell(sweep.metric, row['best_value'])}"
            own["search leader"] = leader if is_overtaken(sweep, row) else "–"
        cells.append(own)
    return cells


def _print_trials(sweep: SweepResults, console: Console, rows: int) -> int:
    """Print trials that did not fail, of each alternative also its winner, and return how many."""
    from rich.text import Text

    groups = [
        [row for row in group if row["status"] != "failed" and not row.get("left_out")]
        for group in group_leaderboard(sweep)
    ]
    groups = [group for group in groups if group]
    each = max(1, -(-rows // max(1, len(groups))))
    chosen = {one.trial.number: one.confirmed for one in choose_representatives(sweep)}
    shown = [[_shown_row(row, chosen) for row in _keep_winner(group, each)] for group in groups]
    if not shown:
        return 0
    texts = describe_settings(sweep, [row for group in shown for row in group])
    if _print_rows(sweep, shown, texts, console, chosen):
        console.print(Text("… settings that do not fit are in leaderboard.csv"))
    return sum(map(len, shown))


def _print_rows(
    sweep: SweepResults,
    groups: list[list[dict[str, Any]]],
    settings: dict[int, str],
    console: Console,
    chosen: Container[int],
) -> bool:
    """Print trials by alternative, `chosen` ones in bold; whether some of their settings did not fit."""
    from rich.table import Table
    from rich.text import Text

    from hwcls.report.terminal.columns import GAP, drop_columns, measure_columns, narrow, shorten_names

    costs = [cost.recorded for cost in sweep.costs]
    label, front = ["label"] if sweep.compare else [], ["front"] if costs else []
    names = ["rank", "trial", *label, "status", *front, sweep.metric, *costs, "epoch", "epochs", "time"]
    cells = {row["trial"]: {name: format_cell(name, row[name]) for name in names} for group in groups for row in group}
    wanted = min(max(map(len, settings.values()), default=0), SETTINGS)
    widths = drop_columns(measure_columns(names, cells.values()), EXPENDABLE, console.width - wanted - GAP)
    room = console.width - sum(widths.values()) - GAP * len(widths)
    if label:
        widths["label"] = narrow(widths["label"], wanted - room, LEAST_LABEL)
        short = shorten_names((row["label"] for row in cells.values()), widths["label"])
        cells = {trial: {**row, "label": short[row["label"]]} for trial, row in cells.items()}
        room = console.width - sum(widths.values()) - GAP * len(widths)
    table = Table(box=None, pad_edge=False)
    for name in widths:
        left = name in ("label", "status", "front")
        table.add_column(Text(name), justify="left" if left else "right", no_wrap=True)
    table.add_column("settings", no_wrap=True)
    lines = {trial: cut_settings(text, room) for trial, text in settings.items()}
    for group in groups:
        for row in group:
            style, trial = "bold" if row["trial"] in chosen else "", row["trial"]
            table.add_row(*(Text(cells[trial][name]) for name in widths), Text(lines[trial]), style=style)
        if group is not groups[-1]:
            table.add_row()
    console.print(table)
    return any(lines[trial] != text for trial, text in settings.items())


def cut_settings(text: str, width: int) -> str:
    """As many settings as fit whole, and … for those that do not."""
    from hwcls.report.terminal.columns import fill_lines

    if len(text) <= max(0, width):
        return text
    first = fill_lines(text.split(), width - 2, " ")[0]
    return f"{first} …" if len(first) <= width - 2 else "…"


def describe_settings(sweep: SweepResults, rows: list[dict[str, Any]]) -> dict[int, str]:
    """The settings of each trial without the compared one, in one line: first those in which the rows differ most."""
    trials, drawn = {trial.number: trial for trial in sweep.trials}, {}
    for row in rows:
        found = trials[row["trial"]].parameters
        drawn[row["trial"]] = {name: value for name, value in found.items() if name != sweep.compared}
    order = order_by_difference(list(drawn.values()))
    return {
        number: " ".join(f"{name}={format_number(found[name])}" for name in order if name in found)
        for number, found in drawn.items()
    }


def _keep_winner(group: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The first rows; a winner below takes the place of the last one."""
    winner = next((row for row in group if row.get("confirmed") == "winner"), group[0])
    return group[:count] if winner in group[:count] else [*group[: count - 1], winner]


def _shown_row(row: dict[str, Any], chosen: dict[int, bool]) -> dict[str, Any]:
    """A row as the table shows it: a confirmed winner is marked."""
    status = "winner" if chosen.get(row["trial"]) else row["status"]
    front = {"front": "yes" if row["front"] else ""} if "front" in row else {}
    return row | {"time": format_duration(row["seconds"]), "status": status} | front
