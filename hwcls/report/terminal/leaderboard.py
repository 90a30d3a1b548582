"""The results of one sweep as terminal tables: alternatives, best trials, failures and the answer."""

from __future__ import annotations

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
SETTINGS = 30  # characters that the settings get before these columns do


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

    found = build_alternatives(sweep)
    test = compare_confirmed(sweep)
    if not found:
        return
    failed = any(row["failed"] for row in found)
    columns = [str(sweep.compare).rpartition(".")[2], "trials", *(["failed"] if failed else []), "epochs", "time"]
    overtaken = any(is_overtaken(sweep, row) for row in found)
    columns += [*(["trial"] if sweep.confirm else []), sweep.metric, *(["on test", "95 % interval"] if test else [])]
    columns += ["search leader"] if overtaken else []
    table = Table(box=None, pad_edge=False)
    for place, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if place else "left", overflow="fold")
    for row in found:
        cells = [format_number(row["label"]), str(row["trials"]), *([str(row["failed"])] if failed else [])]
        cells += [str(row["epochs"]), format_duration(row["seconds"])]
        cells += [format_number(row["trial"])] if sweep.confirm else []
        cells.append(format_cell(sweep.metric, row["value"]))
        if test:
            ends = (row["low"], row["high"])
            cells.append("–" if None in ends else format_metric(test.metric, row[test.metric]))
            cells.append("–" if None in ends else " to ".join(format_metric(test.metric, end) for end in ends))
        if overtaken:
            leader = f"trial {row['best_trial']}, {format_cell(sweep.metric, row['best_value'])}"
            cells.append(leader if is_overtaken(sweep, row) else "–")
        table.add_row(*map(Text, cells))
    console.print(table)
    console.print()


def _print_trials(sweep: SweepResults, console: Console, rows: int) -> int:
    """Print trials that did not fail, of each alternative also its winner, and return how many."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    label = ["label"] if sweep.compare else []
    costs = [cost.recorded for cost in sweep.costs]
    right = ("rank", "trial", sweep.metric, *costs, "epoch", "epochs", "time")
    front = ["front"] if costs else []
    columns = ["rank", "trial", *label, "status", *front, sweep.metric, *costs, "epoch", "epochs", "time"]
    groups = [
        [row for row in group if row["status"] != "failed" and not row.get("left_out")]
        for group in group_leaderboard(sweep)
    ]
    groups = [group for group in groups if group]
    each = max(1, -(-rows // max(1, len(groups))))
    chosen = {one.trial.number: one.confirmed for one in choose_representatives(sweep)}
    shown = [[_shown_row(row, chosen) for row in _keep_winner(group, each)] for group in groups]
    texts = describe_settings(sweep, [row for group in shown for row in group])
    widths = {
        name: max([len(name), *(len(format_cell(name, row[name])) for group in shown for row in group)]) + 2
        for name in columns
    }
    wanted = min(max(map(len, texts.values()), default=0), SETTINGS)
    for name in EXPENDABLE:
        if console.width - sum(widths[name] for name in columns) < wanted:
            columns.remove(name)
    room = console.width - sum(widths[name] for name in columns)  # Rich would shrink every column for the settings
    for name in columns:
        table.add_column(Text(name), justify="right" if name in right else "left", no_wrap=True)
    table.add_column("settings", no_wrap=True)
    for group in shown:
        for row in group:
            cells = [Text(format_cell(name, row[name])) for name in columns]
            settings = Text(texts[row["trial"]])
            settings.truncate(max(room, 12), overflow="ellipsis")
            table.add_row(*cells, settings, style="bold" if row["trial"] in chosen else "")
        if group is not shown[-1]:
            table.add_row()
    if shown:
        console.print(table)
    return sum(map(len, shown))


def describe_settings(sweep: SweepResults, rows: list[dict[str, Any]]) -> dict[int, str]:
    """The settings of each trial without its label, in one line: first those in which the rows differ most."""
    trials, drawn = {trial.number: trial for trial in sweep.trials}, {}
    for row in rows:
        found = trials[row["trial"]].parameters
        drawn[row["trial"]] = {name: value for name, value in found.items() if str(value) != row.get("label")}
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
