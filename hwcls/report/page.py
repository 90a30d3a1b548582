"""report.html: one file that needs no network, written whole from the results folder."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwcls import files
from hwcls.report import plots
from hwcls.report.after import best_after, counts
from hwcls.report.answer import answer
from hwcls.report.compare import alternatives, grouped, write_leaderboard
from hwcls.report.confirmed import confirmed
from hwcls.report.load import SweepResults, load_sweep
from hwcls.report.words import cell, duration, gap, measure, noun, number, of
from hwcls.tracking.records import SweepFolder


def write_page(path: Path) -> Path:
    """Read the results folder `path`, write its report.html and leaderboard.csv, and return the page's path.

    Raises UserError when `path` is no results folder.
    """
    sweep = load_sweep(path)
    write_leaderboard(sweep)
    page = path / "report.html"
    files.write_text(page, render(sweep))
    return page


def render(sweep: SweepResults) -> str:
    """The page as HTML; whatever came from the sweep is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "cell": lambda value, name: cell(name, value),
        "number": number,
        "duration": duration,
        "measure": lambda value, metric: measure(metric, value),
        "gap": lambda value, metric: gap(metric, value, unit=False),
        "noun": noun,
    }
    environment.tests["numeric"] = _is_number
    figures, groups = _figures(sweep), grouped(sweep)
    board = [row for group in groups for row in group]
    return environment.get_template("page.html.jinja").render(
        sweep=sweep,
        answer=answer(sweep),
        facts=_facts(sweep),
        groups=groups,
        board=board,
        columns=[
            (name, all(_is_number(row[name]) or row[name] is None for row in board))
            for name in (board[0] if board else [])
        ],
        alternatives=alternatives(sweep) if sweep.compare else [],
        counts=counts(best_after(sweep)),
        confirmed=confirmed(sweep),
        evaluations=SweepFolder(sweep.folder).reads_of_test(),
        test_runs=sum(run.test is not None for run in sweep.confirm),
        charts=[(key, title) for key, title, _ in figures],
        figures=script_json({key: figure for key, _, figure in figures}),
        failures=_failures(sweep),
        commands=[f"hwcls train {shlex.quote(str(trial.folder / 'config.yaml'))}" for trial in sweep.ranked()],
        wandb=f"hwcls wandb sync {shlex.quote(str(sweep.folder))}" if (sweep.folder / "wandb").is_dir() else None,
        plotly=get_plotlyjs() if figures else "",
    )


def script_json(value: object) -> str:
    """JSON that may stand inside a script element, whatever strings it holds."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _figures(sweep: SweepResults) -> list[tuple[str, str, plots.Figure]]:
    """(id, title, figure) of every chart that has something to show."""
    own = sweep.metric.partition("/")[2]
    wanted = [("metric", own), ("accuracy", "accuracy"), ("loss", "loss")]
    charts = {
        metric: (key, f"{metric.replace('_', ' ').capitalize()} by epoch", plots.curves(sweep, metric))
        for key, metric in reversed(wanted)
    }
    found = [*reversed(charts.values()), ("progress", "What each trial brought", plots.progress(sweep))]
    if sweep.compare:
        found.append(("after", "The best after k trials of each alternative", plots.after(sweep)))
    return [(key, title, figure) for key, title, figure in found if figure is not None]


def _facts(sweep: SweepResults) -> list[tuple[str, str]]:
    """What ran, as (what, value) lines; what is not on record is left out."""
    settings = sweep.settings
    counts = Counter(trial.status.replace("_", " ") for trial in sweep.trials)
    listed = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    facts = [("Trials", f"{len(sweep.trials)} ({listed})" if counts else "none yet")]
    if sweep.confirm:
        facts.append(("Confirm runs", str(len(sweep.confirm))))
    budget = [str(settings[key]) + end for key, end in (("run_cap", " trials"), ("budget", "")) if settings.get(key)]
    if budget:
        facts.append(
            (
                "Budget",
                ", ".join(budget) + (f", shared by the alternatives of {sweep.compare}" if sweep.compare else ""),
            )
        )
    early = settings.get("early_terminate")
    stop = str(early.get("type", "")) if isinstance(early, Mapping) else ""
    facts.append(
        ("Search", ", ".join(filter(None, [str(settings.get("method") or ""), stop, f"{sweep.goal} {sweep.metric}"])))
    )
    runs = [*sweep.trials, *(confirm.run for confirm in sweep.confirm)]
    epochs = of(sum(len(run.records) for run in runs), "epoch")
    facts.append(("Spent", f"{epochs}, {duration(sum(run.seconds for run in runs))} of training"))
    facts += _data_facts(sweep.data or {})
    environment = sweep.environment or {}
    for key in ("hardware", "versions"):
        if isinstance(environment.get(key), Mapping):
            facts.append(
                (
                    key.capitalize(),
                    ", ".join(
                        f"{name.replace('_', ' ')} {_plain(value)}"
                        for name, value in environment[key].items()
                        if value is not None
                    ),
                )
            )
    for key in ("started", "git"):
        if environment.get(key):
            facts.append((key.capitalize(), _plain(environment[key])))
    command = environment.get("command")
    if isinstance(command, list):
        facts.append(("Command", shlex.join(map(str, command))))
    return facts


def _data_facts(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not data:
        return []
    parts = [str(data.get("name", "?"))]
    parts += [f"{data[split]:,} {split}" for split in ("train", "val", "test") if isinstance(data.get(split), int)]
    classes, per_class = data.get("classes"), data.get("per_class")
    if isinstance(classes, list):
        parts.append(f"{len(classes)} classes")
    facts = [("Data", ", ".join(parts))]
    if isinstance(per_class, list) and len(per_class) == 2:
        low, high = per_class
        facts.append(("Training images per class", f"{low:,}" if low == high else f"{low:,} to {high:,}"))
    return facts


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items() if item is not None)
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def _failures(sweep: SweepResults) -> list[dict[str, Any]]:
    """What failed: its name, the error in a line, and the end of error.txt."""
    runs = [(f"trial {trial.number}", trial) for trial in sweep.trials]
    runs += [(f"confirm {confirm.label}, seed {confirm.seed}", confirm.run) for confirm in sweep.confirm]
    failures = []
    for name, run in runs:
        if run.failed:
            file = run.folder / "error.txt"
            try:
                detail = file.read_text("utf-8", errors="replace")[-4000:]
            except OSError:
                detail = ""
            failures.append({"name": name, "label": run.label, "error": run.error, "detail": detail})
    return failures
