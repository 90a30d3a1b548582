"""How each alternative learned: how soon it was good, and whether it learned its training images by heart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from hwcls.format import format_count, format_metric, format_percent, format_points
from hwcls.results.load import ConfirmRun, Record, SweepResults, TrialResult, is_finite
from hwcls.results.test_comparison import confirm_winners

MARKS = (1, 10)  # epochs after which the models are set side by side
SMOOTH = 3  # epochs over which the gap is averaged before its growth is looked at


@dataclass(frozen=True)
class LearningSummary:
    """One alternative, by the means over its runs, or the medians of epochs; None for what is not on record.

    Its runs are the confirm runs of its winner, else its best trial alone.
    """

    name: str
    runs: int
    seeds: bool  # whether they are confirm runs
    at_epochs: tuple[tuple[int, float | None, float | None], ...]  # epoch, val/accuracy, val/macro_f1
    epoch: float  # the best one
    train: float | None  # train/accuracy there
    val: float | None  # val/accuracy there
    gap_grows_after: float | None  # the epoch from which the gap between the two grows; None where it does not
    reached: float | None  # the epoch in which `SharedTarget.value` was reached; None where half of the runs did not
    reached_seconds: float | None  # of training until then
    test: float | None  # test/accuracy of the confirm runs

    @property
    def gap(self) -> float | None:
        """By how much the accuracy on the training images is higher than on the validation images."""
        return None if self.train is None or self.val is None else self.train - self.val

    def describe_overfitting(self) -> str:
        """How far training and validation accuracy are apart, in a sentence."""
        if self.gap is None or self.train is None or self.val is None:
            return ""
        text = f"{self.name}: {format_percent(self.train)} on the training images and {format_percent(self.val)} on"
        text += f" validation at its best epoch, {format_points(abs(self.gap))} points apart"
        if self.gap_grows_after is None:
            text += "; the gap does not grow significantly"
        else:
            text += f"; the gap grows from epoch {self.gap_grows_after + 1:.0f} on"
        if self.test is not None:
            side = "below" if self.train >= self.test else "above"
            gap = format_points(abs(self.train - self.test))
            text += f". On test {format_percent(self.test)}, {gap} points {side} training"
        return f"{text}."


@dataclass(frozen=True)
class SharedTarget:
    """What all alternatives reach: the worst one's best value, rounded so that it is no lucky epoch."""

    metric: str
    value: float

    def __str__(self) -> str:
        return format_metric(self.metric, self.value)


def summarize_learning(sweep: SweepResults) -> tuple[list[LearningSummary], SharedTarget | None]:
    """One for each alternative with a value, best first, and what all of them reach; no bar for a single one."""
    groups = _groups(sweep)
    bar = _bar(sweep, list(groups.values())) if len(groups) > 1 else None
    last = max((len(run.records) for runs in groups.values() for run in runs), default=0)
    marks = sorted({mark for mark in (*MARKS, last) if 1 <= mark <= last})
    scored = {run.run.folder: run for run in sweep.confirm}
    found = [_learned(sweep, label, runs, marks, bar, scored) for label, runs in groups.items()]
    return found, bar


def _groups(sweep: SweepResults) -> dict[str | None, list[TrialResult]]:
    """The runs of each alternative, the best alternative first."""
    won, groups = confirm_winners(sweep), dict[str | None, list[TrialResult]]()
    for trial in sweep.ranked():
        if trial.value is not None and not trial.failed and trial.records:
            groups.setdefault(trial.label, [trial])
    for label in groups:
        confirmed = [
            run.run
            for run in sweep.confirm
            if run.label == (label or run.label) and run.run.number == won.get(run.label) and run.run.value is not None
        ]
        groups[label] = confirmed or groups[label]
    return groups


def _bar(sweep: SweepResults, groups: Sequence[Sequence[TrialResult]]) -> SharedTarget:
    best = [median(run.value for run in runs if run.value is not None) for runs in groups]
    if sweep.sign > 0:
        return SharedTarget(sweep.metric, math.floor(100 * min(best)) / 100)
    return SharedTarget(sweep.metric, math.ceil(100 * max(best)) / 100)


def _learned(
    sweep: SweepResults,
    label: str | None,
    runs: list[TrialResult],
    marks: list[int],
    bar: SharedTarget | None,
    scored: dict[Any, ConfirmRun],
) -> LearningSummary:
    best = [run.best or {} for run in runs]
    reached = [_reached(sweep, run, bar) for run in runs] if bar else []
    tests = [scored[run.folder].test or {} for run in runs if run.folder in scored]
    images = (sweep.data or {}).get("val")
    grows = [_grows_after(run.records, images if isinstance(images, int) else 0) for run in runs]
    soon = sorted(reached)[(len(reached) - 1) // 2] if reached else (math.inf, math.inf)
    return LearningSummary(
        name=f"trial {runs[0].number}" if label is None else label,
        runs=len(runs),
        seeds=runs[0].folder in scored,
        at_epochs=tuple((mark, _at(runs, mark, "val/accuracy"), _at(runs, mark, "val/macro_f1")) for mark in marks),
        epoch=median(int(line.get("epoch", 0)) for line in best),
        train=_mean(line.get("train/accuracy") for line in best),
        val=_mean(line.get("val/accuracy") for line in best),
        gap_grows_after=median([epoch for epoch in grows if epoch is not None])
        if 2 * sum(epoch is not None for epoch in grows) > len(grows)
        else None,
        reached=soon[0] if math.isfinite(soon[0]) else None,
        reached_seconds=soon[1] if math.isfinite(soon[1]) else None,
        test=_mean(test.get("test/accuracy") for test in tests),
    )


def _at(runs: Sequence[TrialResult], epoch: int, metric: str) -> float | None:
    return _mean(line.get(metric) for run in runs for line in run.records if line["epoch"] == epoch)


def _mean(values: Iterable[Any]) -> float | None:
    known = [float(value) for value in values if is_finite(value)]
    return fmean(known) if known else None


def _reached(sweep: SweepResults, run: TrialResult, bar: SharedTarget) -> tuple[float, float]:
    """The first epoch at the bar and the seconds of training until its end, pretraining included; infinite if never."""
    before = run.cost.get("pretrain_seconds")
    seconds = float(before) if is_finite(before) else 0.0
    for line in run.records:
        spent, value = line.get("seconds"), line.get(bar.metric)
        seconds += float(spent) if is_finite(spent) else 0.0
        if is_finite(value) and sweep.sign * float(value) >= sweep.sign * bar.value:
            return float(line["epoch"]), seconds
    return math.inf, math.inf


def _grows_after(records: Sequence[Record], images: int) -> int | None:
    """The last epoch at which the gap of train and val accuracy was still, within chance, at its smallest.

    The gap is averaged over SMOOTH epochs; chance is two standard errors of the last accuracy on `images`. None where
    the gap does not end higher than that.
    """
    lines = [line for line in records if is_finite(line.get("train/accuracy")) and is_finite(line.get("val/accuracy"))]
    if len(lines) < SMOOTH or images < 2:
        return None
    gaps = [line["train/accuracy"] - line["val/accuracy"] for line in lines]
    smooth = [fmean(gaps[max(0, place - SMOOTH // 2) : place + SMOOTH // 2 + 1]) for place in range(len(gaps))]
    share = float(lines[-1]["val/accuracy"])
    chance = 2 * math.sqrt(max(share * (1 - share), 1 / images) / images)
    if smooth[-1] - min(smooth) <= chance:
        return None
    return max(int(line["epoch"]) for line, gap in zip(lines, smooth, strict=True) if gap <= min(smooth) + chance)


def describe_runs(found: Sequence[LearningSummary]) -> str:
    """Which runs the figures are of."""
    if not any(one.seeds for one in found):
        return "Of the best trial of each." if len(found) > 1 else "Of the best trial."
    runs = {one.runs for one in found if one.seeds}
    said = format_count(min(runs), "confirm run") if len(runs) == 1 else f"{min(runs)} to {max(runs)} confirm runs"
    return f"Means over the {said} of each winner, medians of epochs."
