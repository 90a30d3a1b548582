"""The best after k trials of each alternative: what a larger budget would have brought it, and a smaller one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwcls.results.load import UNFINISHED, SweepResults
from hwcls.statistics import expected_best

POINTS = 60  # of a curve at most


@dataclass(frozen=True)
class TrialSequence:
    """What the trials of one alternative brought, one after the other; a failed one counts and brings nothing."""

    label: str | None
    values: tuple[float | None, ...]  # of the ended trials, in the order of their numbers
    goal: str

    def expected_best(self, counts: Sequence[int]) -> list[float]:
        """The best of k of these trials in any order, on average, for each k of `counts` up to their number."""
        return expected_best(self.values, counts, self.goal)

    def plot_points(self) -> list[int]:
        """Every k from 1 on, of many only some: close together where a curve bends most."""
        count = len(self.values)
        if count <= POINTS:
            return list(range(1, count + 1))
        return sorted({round(count ** (i / (POINTS - 1))) for i in range(POINTS)})

    def best_so_far(self) -> list[float | None]:
        """The best of the first k trials, for each k."""
        best: list[float | None] = []
        for value in self.values:
            known = [v for v in (*best[-1:], value) if v is not None]
            best.append((min if self.goal == "minimize" else max)(known) if known else None)
        return best


def collect_trial_sequences(sweep: SweepResults) -> list[TrialSequence]:
    """One for each alternative with a value, in the order of their labels."""
    found = []
    for label in sweep.labels:
        trials = [trial for trial in sweep.trials if trial.label == label and trial.status != UNFINISHED]
        values = tuple(None if trial.failed else trial.value for trial in trials)
        if any(value is not None for value in values):
            found.append(TrialSequence(label, values, sweep.goal))
    return found


def choose_counts(found: Sequence[TrialSequence]) -> list[int]:
    """The k of a table: 1, 2, 4, 8, ... and the number of trials of each alternative."""
    sizes = {len(after.values) for after in found}
    doubled = {2**i for i in range(max(sizes, default=0).bit_length())}
    return sorted({k for k in doubled if k <= max(sizes)} | sizes) if sizes else []
