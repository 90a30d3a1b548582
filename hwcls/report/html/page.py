"""report.html: one file that needs no network, written from scratch from the results folder."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwcls import files
from hwcls.escape import printable, shell_word
from hwcls.format import (
    format_cell,
    format_count,
    format_decimals,
    format_difference,
    format_duration,
    format_metric,
    format_number,
    format_percent,
    join_words,
    name_metric,
)
from hwcls.report.html import images, tables
from hwcls.report.html.charts import diagnostics as diagnostic_charts
from hwcls.report.html.charts import dots, front, learning_curves, search
from hwcls.report.html.charts.figure import Figure, assign_colours, describe_figure
from hwcls.report.html.charts.parallel_coordinates import parallel_coordinates
from hwcls.report.html.charts.slices import slices
from hwcls.report.html.leaderboard import build_board
from hwcls.report.html.run_facts import collect_facts, collect_failures
from hwcls.report.html.sample import MAX_LISTED, describe_sample
from hwcls.report.html.sections import list_sections
from hwcls.results import test_scores
from hwcls.results.answer import describe_answer
from hwcls.results.best.describe import describe_weights, summarize_best
from hwcls.results.compare import build_alternatives, is_overtaken, write_leaderboard
from hwcls.results.confirm.describe import describe_confirm
from hwcls.results.confirm.out_of_fold import find_out_of_fold, write_out_of_fold
from hwcls.results.confirm.plan import confirm_label, find_splits
from hwcls.results.diagnostics import Diagnostics, class_names, load_diagnostics
from hwcls.results.ensemble.describe import describe_ensemble
from hwcls.results.expected_best import choose_counts, collect_trial_sequences
from hwcls.results.front.describe import build_front, describe_front, format_cost
from hwcls.results.learning_dynamics import describe_runs, describe_target, summarize_learning
from hwcls.results.load import SweepResults, load_results, mark_running
from hwcls.results.notes.find import find_notes
from hwcls.results.representatives import choose_representatives, describe_representatives
from hwcls.results.settings.importance import describe_importances
from hwcls.results.settings.marginal_effects import setting_effects
from hwcls.results.test_comparison import compare_confirmed
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.log import read_problems
from hwcls.tracking.wandb import read_run_urls

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
PLOTLY = HERE / "vendor" / "plotly-cartesian.min.js"
Charts = dict[str, list[tuple[str, str, Figure | None]]]  # by section: id, title, figure


def write_page(path: Path, *, running: bool = False) -> Path:
    """Read the results folder `path`, write its report.html and leaderboard.csv, and return the page's path.

    Args:
        running: Whether a driver works in the folder: the page says so, and loads itself again.

    Raises UserError if `path` is not a results folder.
    """
    sweep = mark_running(load_results(path)) if running else load_results(path)
    write_leaderboard(sweep)
    write_out_of_fold(sweep)
    page = path / "report.html"
    files.write_text(page, render_page(sweep))
    return page


def render_page(sweep: SweepResults) -> str:
    """The page as HTML; all text that comes from the sweep is escaped."""
    diagnostics = load_diagnostics(sweep)
    classes = class_names(sweep)
    if not classes:
        classes = [str(place) for place in range(diagnostics[0].scores.shape[1] if diagnostics else 0)]
    values = {
        "sweep": sweep,
        "written": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "ended": sum(trial.ended for trial in sweep.trials),
        "answer": describe_answer(sweep),
        "confirm_notes": describe_confirm(sweep),
        "front": build_front(sweep),
        "front_notes": describe_front(sweep),
        "weights": describe_weights(sweep),
        "best": summarize_best(sweep),
        "shown_alternatives": dots.alternatives_chart(sweep),
        "ensemble": describe_ensemble(sweep),
        "notes": find_notes(sweep),
        "facts": collect_facts(sweep),
        "failures": collect_failures(sweep, MAX_LISTED),
        "failed": sum(trial.failed for trial in sweep.trials) + sum(one.run.failed for one in sweep.confirm),
        "effects": setting_effects(sweep),
        "importances": describe_importances(sweep),
        **_alternative_values(sweep),
        "board": build_board(sweep),
        **_chart_values(sweep, diagnostics, classes),
        **_learning_values(sweep),
        **_test_values(sweep, classes),
        **_diagnostic_values(sweep, diagnostics, classes),
        **_folder_values(sweep),
    }
    sections = list_sections(sweep, values, classes)
    return build_environment().get_template("page.html.jinja").render(values, sections=sections)


def script_json(value: object) -> str:
    """JSON that is safe inside a script element, whatever strings it holds."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def build_environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "breakable": _breakable,
        "cell": lambda value, name: format_cell(name, value),
        "cost": lambda value, cost: format_cost(cost, value),
        "count": format_count,
        "decimals": format_decimals,
        "difference": lambda value, metric: format_difference(metric, value, unit=False),
        "duration": format_duration,
        "metric": lambda value, metric: format_metric(metric, value),
        "metric_name": name_metric,
        "number": format_number,
        "percent": lambda value: "–" if value is None else format_percent(value),
    }
    environment.tests |= {"numeric": _is_number, "match": lambda text, start: str(text).startswith(start)}
    return environment


def _finalize(value: object) -> object:
    """Text without characters that would reorder the text around it; markup as it is."""
    return printable(value, "\n\t") if type(value) is str else value


def _breakable(name: str) -> object:
    """A name that may break after its underscores and slashes, as markup."""
    from markupsafe import Markup, escape

    parts = re.split(r"(?<=[_/])", printable(name))
    return Markup("<wbr>").join(map(escape, parts))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _alternative_values(sweep: SweepResults) -> dict[str, Any]:
    chosen = choose_representatives(sweep)
    alternatives = build_alternatives(sweep) if sweep.compare else []
    return {
        "alternatives": alternatives,
        "overtaken": [row["label"] for row in alternatives if is_overtaken(sweep, row)],
        "represented": describe_representatives(chosen),
        "counts": choose_counts(collect_trial_sequences(sweep)),
        "confirmed": compare_confirmed(sweep),
        "splits": find_splits(sweep),
        "evaluations": SweepFolder(sweep.folder).count_test_reads(),
        "test_runs": sweep.count_test_scores(),
    }


def _chart_values(sweep: SweepResults, diagnostics: list[Diagnostics], classes: list[str]) -> dict[str, Any]:
    sections = _draw_charts(sweep, diagnostics, classes)
    winners = test_scores.score_winners(sweep, len(classes))
    drawn = {key: figure for charts in sections.values() for key, _, figure in charts if figure}
    described = {name: [_describe_chart(*chart) for chart in charts if chart[2]] for name, charts in sections.items()}
    matrices = diagnostic_charts.confusion_matrices(winners, diagnostics, classes)
    clipped = any("range" in figure["layout"]["yaxis"] for _, _, figure in sections["slices"] if figure)
    return {
        "figures_clipped": clipped,
        "charts": described,
        "matrix_names": [model["name"] for model in matrices["models"]],
        "figures": script_json(drawn),
        "sampled": describe_sample(sweep),
        "matrices": script_json(matrices) if diagnostics else "",
        "plotly": PLOTLY.read_text("utf-8") if drawn or diagnostics else "",
    }


def _describe_chart(key: str, title: str, figure: Figure | None) -> tuple[Any, ...]:
    """What a template needs of a chart: id, title, text alternative, width and caption."""
    assert figure is not None, "left out before"
    return key, title, describe_figure(figure), figure.get("width"), figure.get("caption", "")


def _draw_charts(sweep: SweepResults, diagnostics: list[Diagnostics], classes: list[str]) -> Charts:
    """Every chart by section; the figure is None where there is nothing to show."""
    own = sweep.metric.partition("/")[2]
    wanted = [("metric", own), ("accuracy", "accuracy"), ("loss", "loss")]
    by_epoch = {
        metric: (key, f"{_capitalize(metric)} by epoch", learning_curves.epoch_curves(sweep, metric))
        for key, metric in reversed(wanted)
    }
    curves = [*reversed(by_epoch.values()), ("progress", "Value of each trial", learning_curves.trial_values(sweep))]
    if sweep.compare:
        curves.append(("after", "Expected best after k trials", learning_curves.expected_best(sweep)))
    shown = {cost.recorded for cost in sweep.costs}
    others = [(cost, title) for cost, (title, _) in search.COSTS.items() if cost not in shown]
    pareto = [(f"pareto-{cost}", title, search.pareto(sweep, cost)) for cost, title in others]
    palette = assign_colours(sweep)
    by_class = [
        (f"roc-classes-{place}", f"{one.name}: ROC by class", diagnostic_charts.class_roc(one, classes))
        for place, one in enumerate(diagnostics)
    ]
    return {
        "front": front.fronts(sweep),
        "curves": curves,
        "slices": slices(sweep),
        "search": [
            ("parallel", "Parallel coordinates", parallel_coordinates(sweep)),
            ("importance", "Importance of settings", search.importance(sweep)),
            *pareto,
            ("spent", "Epochs spent by rung", search.epochs_spent(sweep)),
        ],
        "roc": [("roc", "ROC, mean over classes", diagnostic_charts.mean_roc(diagnostics, palette)), *by_class],
        "diagnostics": [
            ("calibration", "Reliability diagram", diagnostic_charts.reliability(diagnostics, palette)),
            ("gradients", "Gradient magnitude by layer", diagnostic_charts.gradient_flow(diagnostics, palette)),
        ],
    }


def _capitalize(metric: str) -> str:
    words = metric.replace("_", " ").replace("f1", "F1")
    return words[:1].upper() + words[1:]


def _learning_values(sweep: SweepResults) -> dict[str, Any]:
    found, target = summarize_learning(sweep)
    note = describe_target(found, target) if target else ""
    runs = [*sweep.trials, *(one.run for one in sweep.confirm)]
    return {
        "dynamics": found,
        "overfitting": [text for one in found if (text := one.describe_overfitting())],
        "target": target,
        "dynamics_runs": describe_runs(found),
        "target_note": note,
        "pretrained": any(run.cost.get("pretrain_seconds") for run in runs),
    }


def _test_values(sweep: SweepResults, classes: list[str]) -> dict[str, Any]:
    found = test_scores.score_winners(sweep, len(classes))
    rows = test_scores.build_class_rows(found, classes) if found else []
    seeds = sorted({one.seeds for one in found})
    words = format_count(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds" if seeds else ""
    averaged = tables.name_averaged(found[0].support) if found else ""
    shown = dots.class_chart(found, classes, _label_colours(sweep), "test") if found else None
    folds = {"out_of_fold": find_out_of_fold(sweep)}
    shares = {"winner_seeds": words, "winner_averaged": averaged, "test_class_chart": shown}
    return {**folds, **shares, "winners": found, "winner_rows": rows}


def _label_colours(sweep: SweepResults) -> dict[str, str]:
    """The colours of the alternatives by the names that confirm runs and diagnostics have."""
    return {confirm_label(label): colour for label, colour in assign_colours(sweep).items()}


def _diagnostic_values(sweep: SweepResults, found: list[Diagnostics], classes: list[str]) -> dict[str, Any]:
    colours = _label_colours(sweep)
    valued = {trial.label for trial in sweep.trials if trial.value is not None and not trial.failed}
    return {
        "diagnostics": found,
        "val_class_chart": dots.class_chart(dots.score_on_validation(found), classes, colours, "validation"),
        "left_out": len(valued) - len(found),
        "diagnosed": join_words(
            [f"trial {one.trial.number} ({one.name})" if sweep.compare else one.name for one in found]
        ),
        "costs": tables.cost_rows(found),
        "class_rows": tables.class_rows(found, classes) if found else [],
        "class_means": tables.class_means(found),
        "worst": [(one, one.most_confused_pairs(classes)) for one in found],
        "predictions": [(one, *images.draw_predictions(one, classes)) for one in found],
        "activations": [(one, *maps) for one in found if (maps := images.draw_activations(one))],
        "reconstructions": [(one, pairs) for one in found if (pairs := images.draw_reconstructions(one))],
        "mislabelled": images.draw_mislabelled(sweep, classes),
        "often_wrong": images.draw_often_wrong(sweep, classes),
    }


def _folder_values(sweep: SweepResults) -> dict[str, Any]:
    folder = SweepFolder(sweep.folder)
    offline = (sweep.folder / "wandb").is_dir()
    first = {one.trial.number for one in choose_representatives(sweep) if one.confirmed}
    ranked = sorted(sweep.ranked(), key=lambda trial: trial.number not in first)  # the winners first
    runs = read_run_urls(folder)
    return {
        "commands": [f"hwcls train {shell_word(one.folder / 'config.yaml')}" for one in ranked[:MAX_LISTED]],
        "more_commands": len(ranked[MAX_LISTED:]),
        "confirmed_first": len(first),
        "runs": dict(list(runs.items())[:MAX_LISTED]),
        "all_runs": len(runs),
        "problems": read_problems(folder),
        "wandb": f"hwcls wandb sync {shell_word(sweep.folder)}" if offline else None,
    }
