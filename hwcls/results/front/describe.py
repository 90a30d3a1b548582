"""The points of a Pareto front with their confirm runs, as rows, in words and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any

from hwcls import files
from hwcls.config.optim import CostConfig
from hwcls.format import format_count, format_metric, format_number, join_words, name_metric
from hwcls.results.best.choose import choose_best
from hwcls.results.confirm.plan import confirm_metric
from hwcls.results.front.find import Point, find_front, trial_values
from hwcls.results.load import SweepResults, TrialResult
from hwcls.results.scored_runs import score_points
from hwcls.results.test_comparison import name_point
from hwcls.statistics import Estimate
from hwcls.tracking.folders import SweepFolder


@dataclass(frozen=True)
class FrontRow:
    """A point of the front, or a confirmed one that has left it since."""

    trial: TrialResult
    values: Point  # in the search: of the first metric, then of the further ones
    on_front: bool
    runs: int  # confirm runs on test that the mean is over
    test: Estimate | None  # of the first metric on test, with its interval; None with fewer than two runs
    mean: float | None  # on test
    costs: tuple[tuple[float, float, float] | None, ...]  # of each further metric over the runs: mean, lowest, highest


def build_front(sweep: SweepResults) -> list[FrontRow]:
    """The rows, the best by the first metric first, then those that left the front; empty with one metric."""
    points = {point.trial.number: point for point in find_front(sweep)}
    scored = score_points(sweep)
    left = [t for t in sweep.ranked() if name_point(t.number) in scored and t.number not in points]
    rows = []
    for trial in [*(point.trial for point in points.values()), *left]:
        values, own = trial_values(sweep, trial), scored.get(name_point(trial.number))
        if values is None:
            continue
        runs, spans = own.runs if own else (), []
        for cost in sweep.costs:
            found = [value for run in runs if (value := cost.value(run.run.cost)) is not None]
            spans.append((fmean(found), min(found), max(found)) if found else None)
        test, mean = (own.estimate, own.mean) if own else (None, None)
        rows.append(FrontRow(trial, values, trial.number in points, len(runs), test, mean, tuple(spans)))
    return rows


def describe_front(sweep: SweepResults) -> list[str]:
    """The front in a sentence, and which of its points best/ is; nothing with one metric."""
    if not sweep.costs:
        return []
    rows = build_front(sweep)
    front = [row for row in rows if row.on_front]
    names = join_words([sweep.metric, *(cost.name for cost in sweep.costs)])
    if not front:
        return [f"No trial has a value of {names} yet."]
    known = sum(trial_values(sweep, trial) is not None for trial in sweep.trials)
    ends = [_name_values(sweep, row) for row in (front[:1] if len(front) == 1 else (front[0], front[-1]))]
    points, trials = format_count(len(front), "point"), format_count(known, "trial")
    text = f"The Pareto front of {names} has {points}, which none of {trials} beats"
    found = [f"{text} in all of them: {' to '.join(ends)}."]
    if best := choose_best(sweep):
        own = f"trial {best.run.number}"
        found.append(
            f"predict, evaluate and export use {own}, the best by {name_metric(sweep.metric)} alone; for another"
            f" point, name the folder of its trial: {sweep.folder}/trials/NUMBER"
        )
    return found


def summarize_front(sweep: SweepResults) -> dict[str, Any] | None:
    """The same as JSON-ready values; None with one metric."""
    if not sweep.costs:
        return None
    names = [sweep.metric, *(cost.name for cost in sweep.costs)]
    points = []
    for row in build_front(sweep):
        costs = [None if one is None else dict(zip(("mean", "low", "high"), one, strict=True)) for one in row.costs]
        test = {
            "mean": row.mean,
            "low": row.test.low if row.test else None,
            "high": row.test.high if row.test else None,
        }
        confirmed = {"runs": row.runs, confirm_metric(sweep): test, **dict(zip(names[1:], costs, strict=True))}
        point = {"trial": row.trial.number, "label": row.trial.label, "on_front": row.on_front}
        points.append(
            {**point, **dict(zip(names, row.values, strict=True)), "confirmed": confirmed if row.runs else None}
        )
    return {
        "metrics": dict(zip(names, [sweep.goal, *(cost.goal for cost in sweep.costs)], strict=True)),
        "points": points,
    }


def write_front(sweep: SweepResults) -> None:
    """Write the numbers of the trials on the front into the results folder, where trackers read them."""
    if sweep.costs:
        files.write_json(SweepFolder(sweep.folder).front_path, [point.trial.number for point in find_front(sweep)])


def format_cost(cost: CostConfig, value: float) -> str:
    """A cost with its unit."""
    number = f"{value:,.0f}" if value >= 1000 else format_number(float(value))
    return f"{number} {cost.unit}"


def _name_values(sweep: SweepResults, row: FrontRow) -> str:
    costs = [format_cost(cost, value) for cost, value in zip(sweep.costs, row.values[1:], strict=True)]
    return f"{format_metric(sweep.metric, row.values[0])} at {join_words(costs)} (trial {row.trial.number})"
