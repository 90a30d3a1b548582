"""The Pareto front of a sweep with several metrics: the trials that no other one beats in all of them."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwcls.results.load import SweepResults, TrialResult

MARGIN = 1.1  # the corner from which volumes are measured, in lengths of the front
Point = tuple[float, ...]


@dataclass(frozen=True)
class FrontPoint:
    """A trial of the front."""

    trial: TrialResult
    values: Point  # of the first metric, then of the further ones


def trial_values(sweep: SweepResults, trial: TrialResult) -> Point | None:
    """All values of an ended trial; None where one is missing."""
    if not trial.can_win or trial.value is None:
        return None
    found = [trial.value, *(cost.value(trial.cost) for cost in sweep.costs)]
    return tuple(value for value in found if value is not None) if None not in found else None


@functools.lru_cache(maxsize=1)
def find_front(sweep: SweepResults) -> list[FrontPoint]:
    """The front, the best by the first metric first; empty where the sweep has one metric."""
    if not sweep.costs:
        return []
    known = [(trial, values) for trial in sweep.trials if (values := trial_values(sweep, trial)) is not None]
    points = sorted((FrontPoint(*one) for one in known), key=lambda one: (_losses(sweep, one.values), one.trial.number))
    losses = np.array([_losses(sweep, point.values) for point in points])  # (N, M); what beats one comes before it
    found = np.zeros(len(points), np.bool_)
    for place, own in enumerate(losses):
        before = losses[:place][found[:place]]
        found[place] = not ((before <= own).all(1) & (before < own).any(1)).any()
    return [point for point, one in zip(points, found, strict=True) if one]


def choose_points(sweep: SweepResults, top: int) -> list[FrontPoint]:
    """At most `top` points of the front to confirm, no two with the same settings, the best by the first metric first.

    That one is always among them; each further one is that which adds the most volume to what the chosen ones beat.
    Volumes are those of the front scaled to 1 in each metric, costs by their logarithm.
    """
    seen: dict[str, FrontPoint] = {}
    for point in find_front(sweep):
        seen.setdefault(json.dumps(dict(point.trial.parameters), sort_keys=True, default=str), point)
    left = list(seen.values())
    scaled = dict(zip((point.trial.number for point in left), _scale([_logs(sweep, p) for p in left]), strict=True))
    chosen = left[:1]
    del left[:1]
    while left and len(chosen) < top:
        own = [scaled[point.trial.number] for point in chosen]
        gains = [volume([*own, scaled[point.trial.number]], MARGIN) for point in left]
        chosen.append(left.pop(gains.index(max(gains))))
    return sorted(chosen, key=lambda point: _losses(sweep, point.values))


def volume(points: Sequence[Point], corner: float) -> float:
    """The volume between `points`, of which less is better, and the corner with that value in each dimension."""
    if not points or not points[0]:
        return 1.0 if points else 0.0
    ordered = sorted(points, key=lambda point: point[-1])
    ends = [min(point[-1], corner) for point in ordered[1:]] + [corner]
    return sum(
        max(0.0, end - point[-1]) * volume([one[:-1] for one in ordered[: place + 1]], corner)
        for place, (point, end) in enumerate(zip(ordered, ends, strict=True))
    )


def _losses(sweep: SweepResults, values: Point) -> Point:
    """Less is better."""
    signs = [-sweep.sign, *(-1 if cost.goal == "maximize" else 1 for cost in sweep.costs)]
    return tuple(sign * value for sign, value in zip(signs, values, strict=True))


def _logs(sweep: SweepResults, point: FrontPoint) -> Point:
    first, *costs = point.values
    return _losses(sweep, (first, *(math.log(max(cost, 1e-9)) for cost in costs)))


def _scale(points: Sequence[Point]) -> list[Point]:
    """Points between 0 and 1 in each dimension."""
    columns = list(zip(*points, strict=True))
    lows, spans = [min(column) for column in columns], [max(column) - min(column) or 1.0 for column in columns]
    return [
        tuple((value - low) / span for value, low, span in zip(point, lows, spans, strict=True)) for point in points
    ]
