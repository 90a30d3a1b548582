"""The expected best of k trials for each alternative: what a smaller budget would have reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwcls.results.load import SweepResults
from hwcls.statistics import expected_best

MAX_POINTS = 60  # of a curve


@dataclass(frozen=True)
class TrialSequence:
    """The values of one alternative's trials in order; None for a failed trial, which has no result."""

    label: str | None
    values: tuple[float | None, ...]  # of the ended trials, in the order of their numbers
    goal: str

    def expected_best(self, counts: Sequence[int]) -> list[float]:
        """The average best of k of these trials in random order, for each k of `counts`, at most their number."""
        return expected_best(self.values, counts, self.goal)

    def plot_points(self) -> list[int]:
        """The k of a plotted curve: all, or MAX_POINTS of many, denser where the curve bends most."""
        count = len(self.values)
        if count <= MAX_POINTS:
            return list(range(1, count + 1))
        return sorted({round(count ** (i / (MAX_POINTS - 1))) for i in range(MAX_POINTS)})

    def best_so_far(self) -> list[float | None]:
        """The best of the first k trials, for each k."""
        best: list[float | None] = []
        for value in self.values:
            known = [v for v in (*best[-1:], value) if v is not None]
            best.append((min if self.goal == "minimize" else max)(known) if known else None)
        return best


def collect_trial_sequences(sweep: SweepResults) -> list[TrialSequence]:
    """One sequence per alternative with a value, in the order of their labels."""
    found = []
    for label in sweep.labels:
        trials = [trial for trial in sweep.trials if trial.label == label and trial.ended]
        values = tuple(None if trial.failed else trial.value for trial in trials)
        if any(value is not None for value in values):
            found.append(TrialSequence(label, values, sweep.goal))
    return found


def choose_counts(found: Sequence[TrialSequence]) -> list[int]:
    """The k of a table: powers of two, and the number of trials of each alternative."""
    sizes = {len(after.values) for after in found}
    doubled = {2**i for i in range(max(sizes, default=0).bit_length())}
    return sorted({k for k in doubled if k <= max(sizes)} | sizes) if sizes else []
