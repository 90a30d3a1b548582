"""The runs that a score on test is of: its mean, its interval and its number of seeds are all of these."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from hwcls.format import join_words
from hwcls.results.confirm.plan import confirm_metric, point_runs, winner_runs
from hwcls.results.load import ConfirmRun, SweepResults
from hwcls.results.test_comparison import ConfirmComparison, compare_confirmed, compare_points, name_point
from hwcls.statistics import Estimate

MAX_NAMED = 4  # runs in a sentence


@dataclass(frozen=True)
class ScoredRuns:
    """A winner, or a point of the front, on test.

    Attributes:
        runs: Those that the interval covers; without an interval every one that was scored on test.
        left_out: Scored on test as well, but their predictions are missing, damaged or of other test images.
        values: The metric on test of each of `runs`.
        estimate: Mean and interval; None with fewer than two runs that have predictions.
    """

    runs: tuple[ConfirmRun, ...]
    left_out: tuple[ConfirmRun, ...]
    values: tuple[float, ...]
    estimate: Estimate | None

    @property
    def mean(self) -> float:
        return self.estimate.mean if self.estimate else fmean(self.values)

    @property
    def interval(self) -> tuple[float | None, float | None]:
        return (self.estimate.low, self.estimate.high) if self.estimate else (None, None)


@functools.lru_cache(maxsize=1)
def score_confirmed(sweep: SweepResults) -> dict[str, ScoredRuns]:
    """The winner of each alternative that was scored on test, by its label."""
    return _score(sweep, winner_runs(sweep), compare_confirmed(sweep))


def score_records(sweep: SweepResults) -> dict[str, ScoredRuns]:
    """The same without reading predictions: no interval, and no run is left out."""
    return _score(sweep, winner_runs(sweep), None)


@functools.lru_cache(maxsize=1)
def score_points(sweep: SweepResults) -> dict[str, ScoredRuns]:
    """The same of the confirmed trials of a sweep with several metrics, by `name_point`."""
    runs = {name_point(number): own for number, own in point_runs(sweep).items()}
    return _score(sweep, runs, compare_points(sweep))


def score_on_test(sweep: SweepResults) -> dict[str, ScoredRuns]:
    """With several metrics the confirmed trials, else the winner of each alternative."""
    return score_points(sweep) if sweep.costs else score_confirmed(sweep)


def describe_left_out(scored: Mapping[str, ScoredRuns]) -> str:
    """Which runs no mean and no interval on test covers, in a sentence; nothing where all are covered."""
    keys = [run.key for one in scored.values() for run in one.left_out]
    if not keys:
        return ""
    runs, whose = ("A run is", "its") if len(keys) == 1 else (f"{len(keys)} runs are", "their")
    named = join_words([*keys[:MAX_NAMED], *([f"{len(keys) - MAX_NAMED} more"] if len(keys) > MAX_NAMED else [])])
    why = f"as {whose} predictions are missing, damaged or of other images"
    return f"{runs} left out of mean and interval on test, {why}: {named}."


def _score(
    sweep: SweepResults, runs: Mapping[str, Sequence[ConfirmRun]], compared: ConfirmComparison | None
) -> dict[str, ScoredRuns]:
    metric, found = confirm_metric(sweep), {}
    for name, own in runs.items():
        known = compared is not None and name in compared.labels
        covered = tuple(compared.covered(name)) if compared and known else tuple(own)
        values = tuple(float((run.test or {})[metric]) for run in covered)
        left_out = tuple(run for run in own if run not in covered)
        found[name] = ScoredRuns(covered, left_out, values, compared.estimate(name) if compared and known else None)
    return found
