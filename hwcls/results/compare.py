"""The leaderboard and the alternatives side by side, as rows, as CSV and in the terminal."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwcls import files
from hwcls.format import cell, duration, measure, number, of
from hwcls.results import test_scores
from hwcls.results.answer import answer
from hwcls.results.diagnostics import class_names
from hwcls.results.expected_best import best_after, counts
from hwcls.results.load import SweepResults, finite
from hwcls.results.test_comparison import confirmed, on_test, winners

if TYPE_CHECKING:
    from rich.console import Console

COSTS = ("parameters", "flops", "inference_ms")  # columns, where they are known


def leaderboard(sweep: SweepResults) -> list[dict[str, Any]]:
    """One row per trial, best first, failed ones last; every row has the same columns, None where it has no value."""
    metrics = _metric_names(sweep)
    costs = [name for name in COSTS if any(name in trial.cost for trial in sweep.trials)]
    parameters = list(dict.fromkeys(name for trial in sweep.trials for name in trial.parameters))
    rows = []
    for rank, trial in enumerate(sweep.ranked(), 1):
        best = trial.best or {}
        row: dict[str, Any] = {"rank": None if trial.failed or trial.value is None else rank, "trial": trial.number}
        if sweep.compare is not None:
            row["label"] = trial.label
        row |= {"status": trial.status, "epoch": best.get("epoch"), sweep.metric: trial.value}
        row |= {n: best[n] if finite(best.get(n)) else None for n in metrics if n != sweep.metric}
        row |= {"epochs": len(trial.records), "seconds": round(trial.seconds, 2)}
        row |= {name: trial.cost.get(name) for name in costs}
        taken = {*row, "error"}  # `epochs` may be drawn as well as run
        row |= {f"parameter/{name}" if name in taken else name: trial.parameters.get(name) for name in parameters}
        rows.append(row | {"error": trial.error})
    return rows


def write_leaderboard(sweep: SweepResults) -> Path:
    """Write leaderboard.csv into the results folder and return its path."""
    path = sweep.folder / "leaderboard.csv"
    files.write_text(path, csv_text(leaderboard(sweep)))
    return path


def csv_text(rows: list[dict[str, Any]]) -> str:
    """Rows of the same columns as CSV."""
    text = io.StringIO()
    names = list(rows[0]) if rows else ["rank", "trial", "status"]
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def alternatives(sweep: SweepResults) -> list[dict[str, Any]]:
    """One row per alternative, best first: what it spent, its best trial, the value to expect after k of its trials,
    and its interval on test where confirmed.

    Without `compare` all trials are one alternative with the label None.
    """
    ranked, after = sweep.ranked(), {found.label: found for found in best_after(sweep)}
    wanted = counts(list(after.values()))
    rows = []
    for label in dict.fromkeys(trial.label for trial in ranked):
        trials = [trial for trial in ranked if trial.label == label]
        best = next((trial for trial in trials if trial.value is not None and not trial.failed), None)
        ks = [k for k in wanted if label in after and k <= len(after[label].values)]
        row: dict[str, Any] = {
            "label": label,
            "trials": len(trials),
            "failed": sum(trial.failed for trial in trials),
            "epochs": sum(len(trial.records) for trial in trials),
            "seconds": round(sum(trial.seconds for trial in trials), 2),
            "best_trial": best.number if best else None,
            "best_value": best.value if best else None,
            "best_after": dict(zip(ks, after[label].expected(ks), strict=True)) if ks else {},
        }
        if sweep.confirm:
            row |= _confirmed_columns(sweep, label)
        rows.append(row)
    return rows


def grouped(sweep: SweepResults) -> list[list[dict[str, Any]]]:
    """The leaderboard's rows by alternative, the best alternative first."""
    groups: dict[str | None, list[dict[str, Any]]] = {}
    for row in leaderboard(sweep):
        groups.setdefault(row.get("label"), []).append(row)
    return list(groups.values())


def differences(sweep: SweepResults) -> list[dict[str, Any]]:
    """One row per pair of confirmed alternatives: by how much the better one leads on test, and whether that is told.

    The intervals are of each difference alone; `p` and `differs` are corrected for the number of pairs (Holm).
    """
    found = confirmed(sweep)
    rows = []
    for better, worse, pair in found.pairs() if found else []:
        values = {"mean": pair.mean, "low": pair.low, "high": pair.high, "p": pair.p}
        told = {"differs": pair.differs, "more_seeds": pair.more_seeds}
        rows.append({"better": better, "worse": worse, **values, **told})
    return rows


def summary(sweep: SweepResults) -> dict[str, Any]:
    """All of it as JSON-ready values."""
    tables = {"alternatives": alternatives(sweep), "differences": differences(sweep), "leaderboard": leaderboard(sweep)}
    names = class_names(sweep)
    return {
        "answer": answer(sweep),
        **tables,
        "classes": test_scores.summary(test_scores.winners_on_test(sweep, len(names)), names),
    }


def print_leaderboard(sweep: SweepResults, console: Console, rows: int = 10) -> None:
    """Print the alternatives, the best `rows` trials by alternative, what failed, and the answer."""
    from rich.text import Text

    console.print(Text(sweep.name, style="bold"))
    if sweep.compare:
        _print_alternatives(sweep, console)
    shown = _print_trials(sweep, console, rows)
    failed = [trial for trial in sweep.trials if trial.failed]
    if more := len(sweep.trials) - shown - len(failed):
        console.print(Text(f"… and {of(more, 'more trial')} in leaderboard.csv"))
    for trial in failed:
        console.print(Text(f"trial {trial.number} failed: {trial.error}", style="red"))
    console.print(Text(answer(sweep)))


def _print_alternatives(sweep: SweepResults, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    found = alternatives(sweep)
    test = confirmed(sweep)
    if not found:
        return
    failed = any(row["failed"] for row in found)
    columns = [str(sweep.compare).rpartition(".")[2], "trials", *(["failed"] if failed else []), "epochs", "time"]
    columns += [sweep.metric, *(["on test", "95 % interval"] if test else [])]
    table = Table(box=None, pad_edge=False)
    for place, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if place else "left", overflow="fold")
    for row in found:
        cells = [number(row["label"]), str(row["trials"]), *([str(row["failed"])] if failed else [])]
        cells += [str(row["epochs"]), duration(row["seconds"]), cell(sweep.metric, row["best_value"])]
        if test:
            ends = (row["low"], row["high"])
            cells.append("–" if None in ends else measure(test.metric, row[test.metric]))
            cells.append("–" if None in ends else " to ".join(measure(test.metric, end) for end in ends))
        table.add_row(*map(Text, cells))
    console.print(table)
    console.print()


def _print_trials(sweep: SweepResults, console: Console, rows: int) -> int:
    """Print the trials that did not fail, and return how many."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    right = ("rank", "trial", sweep.metric, "epoch", "epochs", "time")
    label = ["label"] if sweep.compare else []
    columns = ["rank", "trial", *label, "status", sweep.metric, "epoch", "epochs", "time"]
    groups = [[row for row in group if row["status"] != "failed"] for group in grouped(sweep)]
    groups = [group for group in groups if group]
    each = max(1, -(-rows // max(1, len(groups))))
    shown = [[row | {"time": duration(row["seconds"])} for row in group[:each]] for group in groups]
    trials = {trial.number: trial for trial in sweep.trials}
    room = console.width  # what is left for the settings: Rich would shrink every column for them
    for name in columns:
        room -= max([len(name), *(len(cell(name, row[name])) for group in shown for row in group)]) + 2
        table.add_column(Text(name), justify="right" if name in right else "left", no_wrap=True)
    table.add_column("settings", no_wrap=True)
    for group in shown:
        for place, row in enumerate(group):
            cells = [Text(cell(name, row[name])) for name in columns]
            drawn = {name: v for name, v in trials[row["trial"]].parameters.items() if str(v) != row.get("label")}
            settings = Text(" ".join(f"{name}={number(value)}" for name, value in drawn.items()))
            settings.truncate(max(room, 12), overflow="ellipsis")
            table.add_row(*cells, settings, style="" if place else "bold")
        if group is not shown[-1]:
            table.add_row()
    if shown:
        console.print(table)
    return sum(map(len, shown))


def _confirmed_columns(sweep: SweepResults, label: str | None) -> dict[str, Any]:
    runs = [run for run in sweep.confirm if sweep.compare is None or run.label == label]
    name = runs[0].label if runs else None
    row: dict[str, Any] = {
        "confirm_runs": len(runs),
        "confirm_seconds": round(sum(run.run.seconds for run in runs), 2),
        "confirmed_trial": winners(sweep).get(name) if name else None,
        "test_runs": sum(run.test is not None for run in runs),
    }
    found = confirmed(sweep)
    estimate = found.estimate(name) if found and name in found.labels else None
    row |= {on_test(sweep): estimate.mean if estimate else None}
    return row | {"low": estimate.low if estimate else None, "high": estimate.high if estimate else None}


def _metric_names(sweep: SweepResults) -> list[str]:
    """Every val/ and train/ metric on record, val first."""
    seen = dict.fromkeys(
        key for trial in sweep.trials for key in (trial.best or {}) if key.startswith(("val/", "train/"))
    )
    return sorted(seen, key=lambda name: name.startswith("train/"))
