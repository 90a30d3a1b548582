"""report.html: one file that needs no network, written whole from the results folder."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from hwcls import files
from hwcls.format import (
    format_cell,
    format_count,
    format_decimals,
    format_difference,
    format_duration,
    format_metric,
    format_number,
    format_percent,
    name_metric,
)
from hwcls.report.html import pictures, tables
from hwcls.report.html.charts import curves, models, search
from hwcls.report.html.charts.base import Figure, colours, in_words
from hwcls.report.html.facts import facts, failures
from hwcls.results import test_scores
from hwcls.results.answer import describe_answer
from hwcls.results.compare import build_alternatives, group_leaderboard, write_leaderboard
from hwcls.results.diagnostics import Diagnostics, class_names, load_diagnostics
from hwcls.results.expected_best import choose_counts, collect_trial_sequences
from hwcls.results.learning_dynamics import describe_runs, summarize_learning
from hwcls.results.load import SweepResults, load_results
from hwcls.results.marginal_effects import setting_effects
from hwcls.results.test_comparison import compare_confirmed
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.log import read_problems
from hwcls.tracking.wandb import read_run_urls

Charts = dict[str, list[tuple[str, str, Figure | None]]]  # by section: id, title, figure


def write_page(path: Path) -> Path:
    """Read the results folder `path`, write its report.html and leaderboard.csv, and return the page's path.

    Raises UserError when `path` is no results folder.
    """
    sweep = load_results(path)
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
        "cell": lambda value, name: format_cell(name, value),
        "number": format_number,
        "duration": format_duration,
        "measure": lambda value, metric: format_metric(metric, value),
        "gap": lambda value, metric: format_difference(metric, value, unit=False),
        "noun": name_metric,
        "of": format_count,
        "decimals": format_decimals,
        "share": lambda value: "–" if value is None else format_percent(value).replace("-", "−"),
    }
    environment.tests["numeric"] = _is_number
    closely = load_diagnostics(sweep)
    classes = class_names(sweep) or [str(place) for place in range(closely[0].scores.shape[1] if closely else 0)]
    charts = _charts(sweep, closely, classes)
    drawn = {key: figure for section in charts.values() for key, _, figure in section if figure}
    groups = group_leaderboard(sweep)
    board = [row for group in groups for row in group]
    return environment.get_template("page.html.jinja").render(
        sweep=sweep,
        answer=describe_answer(sweep),
        facts=facts(sweep),
        groups=groups,
        board=board,
        columns=[
            (name, all(_is_number(row[name]) or row[name] is None for row in board))
            for name in (board[0] if board else [])
        ],
        alternatives=build_alternatives(sweep) if sweep.compare else [],
        counts=choose_counts(collect_trial_sequences(sweep)),
        confirmed=compare_confirmed(sweep),
        evaluations=SweepFolder(sweep.folder).count_test_reads(),
        test_runs=sum(run.test is not None for run in sweep.confirm),
        charts={
            name: [(key, title, in_words(figure)) for key, title, figure in section if figure]
            for name, section in charts.items()
        },
        brought=setting_effects(sweep),
        figures=script_json(drawn),
        matrices=script_json(models.confusions(closely, classes)) if closely else "",
        failures=failures(sweep),
        commands=[f"hwcls train {shlex.quote(str(trial.folder / 'config.yaml'))}" for trial in sweep.ranked()],
        runs=read_run_urls(SweepFolder(sweep.folder)),
        problems=read_problems(SweepFolder(sweep.folder)),
        wandb=f"hwcls wandb sync {shlex.quote(str(sweep.folder))}" if (sweep.folder / "wandb").is_dir() else None,
        plotly=get_plotlyjs() if drawn or closely else "",
        **_learned(sweep),
        **_tested(sweep, classes),
        **_closely(sweep, closely, classes),
    )


def script_json(value: object) -> str:
    """JSON that may stand inside a script element, whatever strings it holds."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _charts(sweep: SweepResults, closely: list[Diagnostics], classes: list[str]) -> Charts:
    """Every chart by its section; those without a figure have nothing to show."""
    own = sweep.metric.partition("/")[2]
    wanted = [("metric", own), ("accuracy", "accuracy"), ("loss", "loss")]
    by_epoch = {
        metric: (key, f"{metric.replace('_', ' ').capitalize()} by epoch", curves.curves(sweep, metric))
        for key, metric in reversed(wanted)
    }
    after = [("after", "The best after k trials of each alternative", curves.after(sweep))] if sweep.compare else []
    palette = colours(sweep)
    of_classes = [
        (f"roc-classes-{place}", f"{one.name}: ROC by class", models.roc_of_classes(one, classes))
        for place, one in enumerate(closely)
    ]
    return {
        "curves": [
            *reversed(by_epoch.values()),
            ("progress", "What each trial brought", curves.progress(sweep)),
            *after,
        ],
        "search": [
            ("parallel", "Settings side by side", search.parallel(sweep)),
            ("importance", "Which settings matter", search.importance(sweep)),
            *(
                (f"pareto-{cost}", f"Against {words}", search.pareto(sweep, cost))
                for cost, words in search.COSTS.items()
            ),
            ("spent", "Where the budget went", search.spent(sweep)),
        ],
        "models": [
            ("roc", "ROC, the mean over the classes", models.roc(closely, palette)),
            *of_classes,
            ("calibration", "Calibration", models.calibration(closely, palette)),
            ("gradients", "Gradient flow", models.gradient_flow(closely, palette)),
        ],
    }


def _learned(sweep: SweepResults) -> dict[str, Any]:
    """What the template says of how the models learned."""
    found, bar = summarize_learning(sweep)
    return {"learned": found, "bar": bar, "learned_what": describe_runs(found)}


def _tested(sweep: SweepResults, classes: list[str]) -> dict[str, Any]:
    """What the template says of the winners on test."""
    found = test_scores.score_winners(sweep, len(classes))
    seeds = sorted({one.seeds for one in found})
    said = (
        format_count(seeds[0], "seed")
        if len(seeds) == 1
        else " to ".join(map(str, (*seeds[:1], *seeds[-1:]))) + " seeds"
    )
    return {
        "tested": found,
        "tested_rows": test_scores.build_class_rows(found, classes) if found else [],
        "tested_seeds": said,
    }


def _closely(sweep: SweepResults, found: list[Diagnostics], classes: list[str]) -> dict[str, Any]:
    """What the template says of the models that are looked at closely, and of the images that all of them miss."""
    shown, missed, runs = pictures.suspects(sweep, classes)
    valued = {trial.label for trial in sweep.trials if trial.value is not None and not trial.failed}
    return {
        "closely": found,
        "left_out": len(valued) - len(found),
        "costs": tables.costs(found),
        "class_rows": tables.class_rows(found, classes) if found else [],
        "class_means": tables.class_means(found),
        "worst": [(one, one.worst_pairs(classes)) for one in found],
        "pictures": [(one, *pictures.predictions(one, classes)) for one in found],
        "activations": [(one, *seen) for one in found if (seen := pictures.activations(one))],
        "reconstructions": [(one, pairs) for one in found if (pairs := pictures.reconstructions(one))],
        "suspects": {"shown": shown, "count": missed, "runs": runs},
    }
