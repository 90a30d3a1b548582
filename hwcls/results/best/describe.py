"""A sweep's best model in a few lines: who won, with which settings, where the weights are, and what uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hwcls.escape import shell_word
from hwcls.format import format_interval, format_metric, format_number, name_metric
from hwcls.results.answer import name_alternative
from hwcls.results.best.choose import BestRun, choose_best, find_copy
from hwcls.results.confirm.plan import confirm_label, confirm_metric
from hwcls.results.load import SweepResults
from hwcls.results.test_comparison import compare_confirmed


def describe_best(sweep: SweepResults) -> list[str]:
    """The winner with its score, and its settings; nothing where no trial has a value."""
    best = choose_best(sweep)
    if best is None:
        return []
    trial = f"trial {best.run.number}"
    name = trial if best.label is None else f"{name_alternative(sweep, best.label)} ({trial})"
    settings = {key: value for key, value in best.run.parameters.items() if key != sweep.compared}
    line = " ".join(f"{key}={format_number(value)}" for key, value in settings.items())
    return [f"best: {name}, {_describe_score(sweep, best)}", *([f"  {line}"] if line else [])]


def describe_weights(sweep: SweepResults) -> str:
    """Where the best weights are, and which run's they are; empty where none were kept."""
    best = choose_best(sweep)
    if best is None or best.weights is None:
        return ""
    return f"{_place(sweep, best)} ({best.name}, {best.how})"


def list_commands(sweep: SweepResults) -> list[str]:
    """What to do with the best model, as commands; only the report and a training where no weights were kept."""
    best, folder = choose_best(sweep), shell_word(sweep.folder)
    if best is None:
        return []
    if best.weights is None:
        return [f"hwcls train {folder}", f"hwcls report {folder}"]
    uses = [f"hwcls predict {folder} NEW_PHOTOS", f"hwcls evaluate {folder}", f"hwcls export {folder}"]
    return [*uses, f"hwcls report {folder}"]


def summarize_best(sweep: SweepResults) -> dict[str, Any] | None:
    """The same as JSON-ready values; None where no trial has a value."""
    best = choose_best(sweep)
    if best is None:
        return None
    return {
        "run": best.key,
        "trial": best.run.number,
        "label": best.label,
        "why": best.why,
        sweep.metric: best.run.value,
        "test": dict(best.test),
        "mean": dict(best.mean),
        "seeds": best.seeds,
        "settings": dict(best.run.parameters),
        "weights": str(_place(sweep, best)) if best.weights else None,
        "commands": list_commands(sweep),
    }


def _place(sweep: SweepResults, best: BestRun) -> Path | None:
    """The folder of the weights: best/, where that is their copy."""
    return find_copy(sweep, best) or best.weights


def _describe_score(sweep: SweepResults, best: BestRun) -> str:
    """The winner's score: its mean on test with the interval where there is one, else its value on validation."""
    if not best.seeds:
        return best.score
    found, label, metric = compare_confirmed(sweep), confirm_label(best.label), confirm_metric(sweep)
    name = f"{name_metric(metric)} on test"
    if found is not None and label in found.labels:
        return f"{name} {format_interval(metric, found.estimate(label))}"
    return f"{name} {format_metric(metric, best.mean[metric])}"
