"""What a sweep found as frozen dataclasses, for those who want no data frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hwcls.results.compare import list_pairs
from hwcls.results.confirm.plan import confirm_label, confirm_metric, point_runs
from hwcls.results.load import ConfirmRun, Record, SweepResults, TrialResult
from hwcls.results.scored_runs import score_on_test
from hwcls.results.test_comparison import ConfirmComparison, compare_confirmed, compare_points


@dataclass(frozen=True)
class Confirmed:
    """A trial that was retrained on fresh seeds and scored on test.

    Attributes:
        label: The alternative; None without `compare`.
        trial: Its number.
        mean, low, high: The metric on test over the seeds, with its 95 % interval; None with a single seed.
        runs: One for each seed that the mean is over.
        left_out: Further ones, whose predictions are missing or damaged: the interval could not cover them.
    """

    label: str | None
    trial: int
    metric: str
    mean: float
    low: float | None
    high: float | None
    runs: tuple[ConfirmRun, ...]
    left_out: tuple[ConfirmRun, ...] = ()

    @property
    def seeds(self) -> int:
        return len(self.runs)


@dataclass(frozen=True)
class PairComparison:
    """Two confirmed alternatives on test.

    Attributes:
        better, worse: Their labels.
        mean, low, high: The lead of the better one, with its 95 % interval.
        p: Two-sided, adjusted for the number of pairs.
        differs: Whether the lead is significant.
        more_seeds: How many each would need to decide it; None: it is decided, or no number is enough.
    """

    better: str
    worse: str
    mean: float
    low: float
    high: float
    p: float
    differs: bool
    more_seeds: int | None


@dataclass(frozen=True)
class Objects:
    """The tables of `Results` as objects.

    Attributes:
        trials: By number. `records` of each are its epochs, `best` the metrics of the best one.
        leaderboard: The same trials, best first, then those without a value, failed ones last.
        curves: The epochs of each trial, by its number.
        confirmed: Those scored on test, best first.
        confirm_runs: Every retraining, those that picked the winners included.
        comparisons: Every pair of confirmed alternatives, the largest lead first.
    """

    trials: tuple[TrialResult, ...]
    leaderboard: tuple[TrialResult, ...]
    curves: Mapping[int, tuple[Record, ...]]
    confirmed: tuple[Confirmed, ...]
    confirm_runs: tuple[ConfirmRun, ...]
    comparisons: tuple[PairComparison, ...]


def build_objects(sweep: SweepResults) -> Objects:
    """All of a sweep's tables; trials that are left out are in none."""
    return Objects(
        trials=sweep.trials,
        leaderboard=tuple(sweep.ranked()),
        curves={trial.number: trial.records for trial in sweep.trials},
        confirmed=tuple(find_confirmed(sweep)),
        confirm_runs=sweep.confirm,
        comparisons=tuple(PairComparison(**row) for row in list_pairs(_compared(sweep))),
    )


def _compared(sweep: SweepResults) -> ConfirmComparison | None:
    """The comparison on test of the points of the front, or else of the winners."""
    return compare_points(sweep) if point_runs(sweep) else compare_confirmed(sweep)


def find_confirmed(sweep: SweepResults) -> list[Confirmed]:
    """The winner of each alternative, or with several metrics each confirmed point of the front; the best first."""
    metric, found = confirm_metric(sweep), []
    labels = {confirm_label(trial.label): trial.label for trial in sweep.trials}
    for one in score_on_test(sweep).values():
        first, (low, high) = one.runs[0], one.interval
        label = labels.get(first.label, first.label)
        found.append(Confirmed(label, first.run.number, metric, one.mean, low, high, one.runs, one.left_out))
    return sorted(found, key=lambda one: -sweep.sign * one.mean)
