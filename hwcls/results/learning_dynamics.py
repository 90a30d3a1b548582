"""How each alternative learned: how fast, and whether it overfits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from hwcls.format import format_count, format_metric, format_percent, format_points
from hwcls.results.confirm.plan import confirm_label
from hwcls.results.load import ConfirmRun, Record, SweepResults, TrialResult, is_finite
from hwcls.results.representatives import choose_representatives
from hwcls.results.scored_runs import score_confirmed

COMPARED_EPOCHS = (1, 10)  # and the last one
SMOOTH = 3  # epochs over which the gap of train and val accuracy is averaged


@dataclass(frozen=True)
class LearningSummary:
    """One alternative: means over its runs, medians for epochs, None for a value that is not recorded.

    Its runs are the confirm runs of its winner that were scored on test, or else its best trial on validation.
    """

    name: str
    runs: int
    confirmed: bool  # whether they are confirm runs
    at_epochs: tuple[tuple[int, float | None, float | None], ...]  # epoch, val/accuracy, val/macro_f1
    epoch: float  # the best one
    train: float | None  # train/accuracy there
    val: float | None  # val/accuracy there
    gap_grows_after: float | None  # the epoch after which the gap between the two grows, in the runs in which it does
    gap_grows_in: int  # the number of these runs
    reached: float | None  # the epoch in which `SharedTarget.value` was reached, of the runs that reach it
    reached_seconds: float | None  # of training until then
    reached_in: int  # the number of these runs
    test: float | None  # test/accuracy of the confirm runs

    @property
    def gap(self) -> float | None:
        """Training accuracy minus validation accuracy."""
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
            which = "" if self.gap_grows_in == self.runs else f"in {self.gap_grows_in} of {self.runs} runs "
            text += f"; {which}the gap grows from epoch {self.gap_grows_after + 1:.0f} on"
        if self.test is not None:
            side = "below" if self.train >= self.test else "above"
            gap = format_points(abs(self.train - self.test))
            text += f". On test {format_percent(self.test)}, {gap} points {side} training"
        return f"{text}."


@dataclass(frozen=True)
class SharedTarget:
    """A value that half of the runs of every alternative reach: the median of the worst one, rounded."""

    metric: str
    value: float

    def __str__(self) -> str:
        return format_metric(self.metric, self.value)


def describe_target(found: Sequence[LearningSummary], target: SharedTarget) -> str:
    """Which runs reach the shared target, and what the epochs and the time until then are of."""
    what = f"a {target.metric} of {target}"
    if all(one.reached_in == one.runs for one in found):
        return f"Every model reaches {what}{' in every run' if any(one.runs > 1 for one in found) else ''}."
    return f"Not every run reaches {what}: epochs and time are medians over those that do."


def summarize_learning(sweep: SweepResults) -> tuple[list[LearningSummary], SharedTarget | None]:
    """One summary per alternative with a value, and the shared target; None for a single alternative and for 0."""
    groups = _groups(sweep)
    target = _shared_target(sweep, list(groups.values())) if len(groups) > 1 else None
    last = max((len(run.records) for runs in groups.values() for run in runs), default=0)
    epochs = sorted({epoch for epoch in (*COMPARED_EPOCHS, last) if 1 <= epoch <= last})
    scored = {run.run.folder: run for own in score_confirmed(sweep).values() for run in own.runs}
    found = [_summarize_alternative(sweep, label, runs, epochs, target, scored) for label, runs in groups.items()]
    return found, target


def _groups(sweep: SweepResults) -> dict[str | None, list[TrialResult]]:
    """The runs of each alternative as `choose_representatives` has it: of a winner those on test, or else its trial."""
    reports, groups = score_confirmed(sweep), {}
    for one in choose_representatives(sweep):
        own = reports.get(confirm_label(one.label))
        runs = [run.run for run in own.runs] if own else [one.trial]
        if any(run.records for run in runs):
            groups[one.label] = runs
    return groups


def _shared_target(sweep: SweepResults, groups: Sequence[Sequence[TrialResult]]) -> SharedTarget | None:
    """None where it is rounded to 0, which every model reaches at once."""
    best = [median(run.value for run in runs if run.value is not None) for runs in groups]
    if sweep.sign > 0:
        value = math.floor(100 * min(best)) / 100
        return SharedTarget(sweep.metric, value) if value > 0 else None
    return SharedTarget(sweep.metric, math.ceil(100 * max(best)) / 100)


def _summarize_alternative(
    sweep: SweepResults,
    label: str | None,
    runs: list[TrialResult],
    epochs: list[int],
    target: SharedTarget | None,
    scored: dict[Any, ConfirmRun],
) -> LearningSummary:
    best = [run.best or {} for run in runs]
    reached = [at for run in runs if (at := _reached(sweep, run, target)) is not None] if target else []
    tests = [scored[run.folder].test or {} for run in runs if run.folder in scored]
    images = (sweep.data or {}).get("val")
    after = [_grows_after(run.records, images if isinstance(images, int) else 0) for run in runs]
    grows = [epoch for epoch in after if epoch is not None]
    return LearningSummary(
        name=f"trial {runs[0].number}" if label is None else label,
        runs=len(runs),
        confirmed=runs[0].folder in scored,
        at_epochs=tuple(
            (epoch, _at(runs, epoch, "val/accuracy"), _at(runs, epoch, "val/macro_f1")) for epoch in epochs
        ),
        epoch=median(int(line.get("epoch", 0)) for line in best),
        train=_mean(line.get("train/accuracy") for line in best),
        val=_mean(line.get("val/accuracy") for line in best),
        gap_grows_after=median(grows) if grows else None,
        gap_grows_in=len(grows),
        reached=median(epoch for epoch, _ in reached) if reached else None,
        reached_seconds=median(seconds for _, seconds in reached) if reached else None,
        reached_in=len(reached),
        test=_mean(test.get("test/accuracy") for test in tests),
    )


def _at(runs: Sequence[TrialResult], epoch: int, metric: str) -> float | None:
    return _mean(line.get(metric) for run in runs for line in run.records if line["epoch"] == epoch)


def _mean(values: Iterable[Any]) -> float | None:
    known = [float(value) for value in values if is_finite(value)]
    return fmean(known) if known else None


def _reached(sweep: SweepResults, run: TrialResult, target: SharedTarget) -> tuple[float, float] | None:
    """The first epoch that reaches the target and the training time until then with pretraining; None if never."""
    before = run.cost.get("pretrain_seconds")
    seconds = float(before) if is_finite(before) else 0.0
    for line in run.records:
        spent, value = line.get("seconds"), line.get(target.metric)
        seconds += float(spent) if is_finite(spent) else 0.0
        if is_finite(value) and sweep.sign * float(value) >= sweep.sign * target.value:
            return float(line["epoch"]), seconds
    return None


def _grows_after(records: Sequence[Record], images: int) -> int | None:
    """The last epoch at which the gap of train and val accuracy did not differ significantly from its minimum.

    The gap is averaged over SMOOTH epochs; significant is more than two standard errors of the last val accuracy.
    `images` is the number of validation images. None if the gap does not end significantly higher.
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
    """Which runs the values are from."""
    if not any(one.confirmed for one in found):
        return "From the best trial of each alternative." if len(found) > 1 else "From the best trial."
    runs = {one.runs for one in found if one.confirmed}
    count = format_count(min(runs), "confirm run") if len(runs) == 1 else f"{min(runs)} to {max(runs)} confirm runs"
    return f"Means over the {count} of each winner; epochs are medians."
