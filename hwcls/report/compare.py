"""The leaderboard, the alternatives side by side, and the answer in words."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwcls import files
from hwcls.report.confirmed import Confirmed, confirmed
from hwcls.report.load import UNFINISHED, SweepResults, finite
from hwcls.report.words import cell, duration, interval, listed, number, of, points

if TYPE_CHECKING:
    from rich.console import Console


CAUTION = "Each figure is the best epoch of one run, picked on the validation images: small differences may be chance."


def leaderboard(sweep: SweepResults) -> list[dict[str, Any]]:
    """One row per trial, best first, failed ones last; every row has the same columns, None where it has no value."""
    metrics = _metric_names(sweep)
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
        taken = {*row, "error"}  # `epochs` may be drawn as well as run
        row |= {f"parameter/{name}" if name in taken else name: trial.parameters.get(name) for name in parameters}
        rows.append(row | {"error": trial.error})
    return rows


def write_leaderboard(sweep: SweepResults) -> Path:
    """Write leaderboard.csv into the results folder and return its path."""
    path = sweep.folder / "leaderboard.csv"
    rows = leaderboard(sweep)
    with files.atomic(path, "w") as file:
        writer = csv.DictWriter(
            file, fieldnames=list(rows[0]) if rows else ["rank", "trial", "status"], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)
    return path


def alternatives(sweep: SweepResults) -> list[dict[str, Any]]:
    """One row per alternative, best first: what it spent, its best trial, and its interval on test where confirmed.

    Without `compare` all trials are one alternative with the label None.
    """
    ranked = sweep.ranked()
    rows = []
    for label in dict.fromkeys(trial.label for trial in ranked):
        trials = [trial for trial in ranked if trial.label == label]
        best = next((trial for trial in trials if trial.value is not None and not trial.failed), None)
        row: dict[str, Any] = {
            "label": label,
            "trials": len(trials),
            "failed": sum(trial.failed for trial in trials),
            "epochs": sum(len(trial.records) for trial in trials),
            "seconds": round(sum(trial.seconds for trial in trials), 2),
            "best_trial": best.number if best else None,
            "best_value": best.value if best else None,
        }
        if sweep.confirm:
            row |= _confirmed_columns(sweep, label)
        rows.append(row)
    return rows


def answer(sweep: SweepResults) -> str:
    """What the sweep found, in a few sentences that can be quoted."""
    found = confirmed(sweep)
    if found is not None and len(found.labels) > 1:
        return _verdict(found)
    winners = [trial for trial in sweep.ranked() if trial.value is not None and not trial.failed]
    if not winners:
        return _nothing_yet(sweep)
    best, text = winners[0], f"Best on {sweep.metric}: "
    where = f"epoch {(best.best or {}).get('epoch')}"
    if sweep.compare is None or best.label is None:
        text += f"trial {best.number} with {number(best.value)} ({where}), of {of(len(winners), 'trial')}."
    else:
        text += f"{best.label} with {number(best.value)} (trial {best.number}, {where})"
        firsts = {trial.label: trial for trial in reversed(winners) if trial.label != best.label}
        others = [trial for trial in winners if firsts.get(trial.label) is trial]
        level = [f"{trial.label}" for trial in others if trial.value == best.value]
        behind = [f"{trial.label} {number(trial.value)}" for trial in others if trial.value != best.value]
        text += f", level with {listed(level)}" if level else ""
        text += f", ahead of {listed(behind)}." if behind else "."
    if found is not None:
        label = found.labels[0]
        who, seeds = label if sweep.compare else "the winner", of(found.seeds(label), "seed")
        return f"{text} Confirmed: on test {who} has an accuracy of {interval(found.estimate(label))} over {seeds}."
    running = sum(trial.status == UNFINISHED for trial in sweep.trials)
    unfinished = f" {of(running, 'trial')} not finished." if running else ""
    return f"{text} {CAUTION}{unfinished}"


def print_leaderboard(sweep: SweepResults, console: Console, rows: int = 10) -> None:
    """Print the best `rows` trials as a table, what failed, and the answer."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(sweep.name, style="bold"), title_justify="left", box=None, pad_edge=False)
    right = ("rank", "trial", sweep.metric, "epoch", "epochs", "time")
    columns = [
        "rank",
        "trial",
        *(["label"] if sweep.compare else []),
        "status",
        sweep.metric,
        "epoch",
        "epochs",
        "time",
    ]
    board = [row | {"time": duration(row["seconds"])} for row in leaderboard(sweep)]
    shown = [row for row in board if row["status"] != "failed"][:rows]
    trials = {trial.number: trial for trial in sweep.trials}
    room = console.width  # what is left for the settings: Rich would shrink every column for them
    for name in columns:
        room -= max([len(name), *(len(cell(name, row[name])) for row in shown)]) + 2
        table.add_column(Text(name), justify="right" if name in right else "left", no_wrap=True)
    table.add_column("settings", no_wrap=True)
    for row in shown:
        cells = [Text(cell(name, row[name])) for name in columns]
        drawn = {name: value for name, value in trials[row["trial"]].parameters.items() if value != row.get("label")}
        settings = Text(" ".join(f"{name}={number(value)}" for name, value in drawn.items()))
        settings.truncate(max(room, 12), overflow="ellipsis")
        table.add_row(*cells, settings, style="bold" if row["rank"] == 1 else "")
    if shown:
        console.print(table)
    failed = [trial for trial in sweep.trials if trial.failed]
    if more := len(board) - len(shown) - len(failed):
        console.print(Text(f"… and {of(more, 'more trial')} in leaderboard.csv"))
    for trial in failed:
        console.print(Text(f"trial {trial.number} failed: {trial.error}", style="red"))
    console.print(Text(answer(sweep)))


def _verdict(found: Confirmed) -> str:
    """The best alternative on test against every other one."""
    best = found.best
    seeds = of(found.seeds(best), "seed")
    parts = [f"On test {best} has the highest accuracy, {interval(found.estimate(best))} over {seeds}."]
    for other, pair in found.against(best):
        gap = f"{points(pair.mean)} points (95 % interval {points(pair.low)} to {points(pair.high)})"
        if pair.differs:
            parts.append(f"It beats {other} by {gap}.")
            continue
        more = (
            f"about {of(pair.more_seeds, 'more seed')} each would tell"
            if pair.more_seeds
            else "more seeds alone would not tell"
        )
        parts.append(f"Whether it beats {other} cannot be told from a difference of {gap}; {more}.")
    return " ".join(parts)


def _nothing_yet(sweep: SweepResults) -> str:
    if not sweep.trials:
        return "No trial has started yet."
    counts = Counter(trial.status for trial in sweep.trials)
    ended = listed([f"{count} {status.replace('_', ' ')}" for status, count in counts.items()])
    return f"No trial has a value of {sweep.metric} yet: {ended}."


def _confirmed_columns(sweep: SweepResults, label: str | None) -> dict[str, Any]:
    runs = [run for run in sweep.confirm if sweep.compare is None or run.label == label]
    scored = [run for run in runs if run.test]
    row: dict[str, Any] = {
        "confirm_runs": len(runs),
        "confirm_seconds": round(sum(run.run.seconds for run in runs), 2),
        "confirmed_trial": scored[0].run.number if scored and scored[0].run.number >= 0 else None,
        "test_runs": len(scored),
    }
    found, name = confirmed(sweep), runs[0].label if runs else None
    estimate = found.estimate(name) if found and name in found.labels else None
    row |= {"test/accuracy": estimate.mean if estimate else None}
    return row | {"low": estimate.low if estimate else None, "high": estimate.high if estimate else None}


def _metric_names(sweep: SweepResults) -> list[str]:
    """Every val/ and train/ metric on record, val first."""
    seen = dict.fromkeys(
        key for trial in sweep.trials for key in (trial.best or {}) if key.startswith(("val/", "train/"))
    )
    return sorted(seen, key=lambda name: name.startswith("train/"))
