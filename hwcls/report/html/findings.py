"""What each section of the page finds, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from hwcls.format import (
    format_cell,
    format_count,
    format_decimals,
    format_difference,
    format_duration,
    format_interval,
    join_words,
)
from hwcls.report.html.images import Mislabelled
from hwcls.results.answer import name_alternative
from hwcls.results.confirm.plan import confirm_label
from hwcls.results.diagnostics import Diagnostics
from hwcls.results.learning_dynamics import LearningSummary, SharedTarget
from hwcls.results.load import SweepResults, TrialResult
from hwcls.results.representatives import choose_representatives
from hwcls.results.test_comparison import ConfirmComparison
from hwcls.results.test_scores import WinnerScores

MAX_NAMED = 4  # models in a sentence
REPRODUCE = "Each trial can be trained again from its own folder, without a sweep."


def find_alternatives(
    sweep: SweepResults, rows: Sequence[Mapping[str, Any]], confirmed: ConfirmComparison | None
) -> str:
    """Which alternative leads, by how much and over which trials."""
    if confirmed and len(confirmed.labels) > 1:
        label = confirmed.best
        other, pair = confirmed.differences_to(label)[0]
        names = name_alternative(sweep, label), name_alternative(sweep, other)
        if other in confirmed.equal_to(label):
            return f"On test {names[0]} and {names[1]} are equal."
        verdict = "significant" if pair.differs else "not significant"
        ahead = format_difference(confirmed.metric, abs(pair.mean))
        return f"On test {names[0]} is ahead of {names[1]} by {ahead}: the difference is {verdict}."
    valued = [row for row in rows if row["best_value"] is not None]
    ranked = sorted(valued, key=lambda row: -sweep.sign * row["best_value"])  # `rows` have confirmed ones first
    if not ranked:
        return "No alternative has a value yet."
    shown = [(name_alternative(sweep, row["label"]), format_cell(sweep.metric, row["best_value"])) for row in ranked]
    best, value = shown[0]
    if len(shown) == 1:
        return f"Only one alternative has a value of {sweep.metric} yet: {best} {value}."
    first = [name for name, own in shown if own == value]
    behind = [f"{name} {own}" for name, own in shown if own != value]
    leads = f"{best} {value} leads" if len(first) == 1 else f"{_few(first)} are equal with {value}"
    return f"On {sweep.metric} {leads}{f', ahead of {_few(behind)}' if behind else ''}."


def find_test_scores(winners: Sequence[WinnerScores], classes: Sequence[str]) -> str:
    """The class that the best winner has the lowest F1 of."""
    first = winners[0]
    scores = [(float(value), name) for value, name, n in zip(first.mean[2], classes, first.support, strict=True) if n]
    low, name = min(scores)
    mean = format_decimals(float(first.macro()[2]), 3)
    whose = _capitalize_trial(first.title)
    return f"{whose} is worst at class {name}: F1 {low:.3f}, and {mean} on average over the classes."


def find_dynamics(found: Sequence[LearningSummary], target: SharedTarget | None) -> str:
    """Who reaches the shared target first, or how far training and validation are apart."""
    reached = sorted((one for one in found if one.reached is not None), key=lambda one: one.reached or 0.0)
    if target and reached:
        words = [f"{one.name} after {_epochs(one.reached or 0.0)}" for one in reached]
        return f"{target} on {target.metric} is reached by {_few(words)}."
    return next((text for one in found if (text := one.describe_overfitting())), "")


def find_curves(sweep: SweepResults) -> str:
    """When the first of the trials that the charts show in bold was at its best."""
    best = next((one.trial for one in choose_representatives(sweep)), None)
    if best is None or best.best is None:
        return ""
    epoch, last = best.best.get("epoch"), len(best.records)
    late = ": longer training may help" if isinstance(epoch, int) and last > 1 and epoch == last else ""
    value = format_cell(sweep.metric, best.value)
    return f"{_name(sweep, best)} has its best {sweep.metric}, {value}, in epoch {epoch} of {last}{late}."


def find_leaderboard(sweep: SweepResults) -> str:
    """The first trial and the middle one."""
    values = [trial.value for trial in sweep.trials if trial.value is not None and not trial.failed]
    best = _best(sweep)
    if best is None:
        return ""
    first, middle = (format_cell(sweep.metric, value) for value in (best.value, median(values)))
    return (
        f"{_name(sweep, best)} is first of {format_count(len(values), 'trial')} with {first}; the median is {middle}."
    )


def find_search(importances: Sequence[str]) -> str:
    """Which settings matter."""
    return importances[0] if importances else "There are too few trials to tell which settings matter."


def find_diagnostics(found: Sequence[Diagnostics], classes: Sequence[str]) -> str:
    """The most frequent confusion of the best model on validation."""
    first = found[0]
    wrong, images = int((first.predicted != first.labels).sum()), len(first.labels)
    pairs = first.most_confused_pairs(list(classes))
    if not pairs:
        return f"{first.name} makes no error on {format_count(images, 'validation image')}."
    true, guess, count, _ = pairs[0]
    text = f"{first.name} is wrong on {wrong:,} of {format_count(images, 'validation image')}"
    return f"{text}, most often on {true} predicted as {guess} ({count})."


def find_mislabelled(found: Mislabelled) -> str:
    """How many test images every confirm run gets wrong."""
    runs = f"{found.runs} confirm runs of the winners"
    if not found.count:
        return f"Every test image is classified correctly by at least one of the {runs}."
    verb = "is" if found.count == 1 else "are"
    return f"{format_count(found.count, 'test image')} {verb} classified wrong by all {runs}."


def find_out_of_fold(found: Sequence[Any]) -> str:
    """How well the first winner predicts images that it was not trained on."""
    first = found[0]
    if not first.accuracy:
        return ""
    whose = f"Trial {first.trial}" if first.label == confirm_label(None) else first.label
    return f"{whose}: {format_interval('val/accuracy', first.accuracy)} on images that it was not trained on."


def find_failures(failures: Sequence[Mapping[str, Any]], failed: int) -> str:
    """How many runs failed, and of what the first one."""
    text = f"{format_count(failed, 'run')} failed; the sweep went on."
    return f"{text} The first: {failures[0]['error']}" if failures else text


def find_facts(sweep: SweepResults) -> str:
    """What was spent."""
    runs = [*sweep.trials, *(one.run for one in sweep.confirm)]
    epochs = format_count(sum(len(run.records) for run in runs), "epoch")
    confirm = f" and {format_count(len(sweep.confirm), 'confirm run')}" if sweep.confirm else ""
    took = format_duration(sum(run.seconds for run in runs))
    return f"{format_count(len(sweep.trials), 'trial')}{confirm}: {epochs}, {took} of training."


def _best(sweep: SweepResults) -> TrialResult | None:
    return next((trial for trial in sweep.ranked() if trial.value is not None and not trial.failed), None)


def _name(sweep: SweepResults, trial: TrialResult) -> str:
    alternative = f" ({name_alternative(sweep, trial.label)})" if sweep.compare and trial.label is not None else ""
    return f"Trial {trial.number}{alternative}"


def _capitalize_trial(name: str) -> str:
    """The name at the start of a sentence; the labels of a sweep file stay as they are."""
    return name.replace("trial ", "Trial ", 1) if name.startswith("trial ") else name


def _epochs(count: float) -> str:
    return "1 epoch" if count == 1 else f"{count:g} epochs"


def _few(words: Sequence[str]) -> str:
    more = len(words) - MAX_NAMED
    return join_words([*words[:MAX_NAMED], format_count(more, "other")] if more > 1 else words)
