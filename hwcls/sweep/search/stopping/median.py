"""The median stopping rule (Vizier, KDD 2017)."""

from __future__ import annotations

import math
from bisect import insort
from collections import defaultdict
from collections.abc import Sequence

from pydantic import Field

from hwcls.config.sweep import EARLY_STOPPING, EarlyStopping, StoppingRule


@EARLY_STOPPING.register("median")
class Median(EarlyStopping):
    """A trial ends whose best value is worse than the median of the others' means up to the same epoch."""

    min_trials: int = Field(3, ge=1, description="So many other trials must have come as far.")

    def race(self, first: int, epochs: int, mode: str) -> StoppingRule:
        return MedianRule(first, self.min_trials, mode)


class MedianRule:
    """Decides as Ray's MedianStoppingRule does, which goes through all epochs of all trials for it.

    Args:
        first: The first epoch that is decided on, and the first that a mean is taken over.
        min_trials: So many others must have come as far.
        mode: "max" or "min".
    """

    def __init__(self, first: int, min_trials: int, mode: str) -> None:
        self.first, self.min_trials, self.sign = first, min_trials, 1 if mode == "max" else -1
        self.best: dict[str, float] = {}  # of each trial; more is better
        self.sums: dict[str, tuple[float, int]] = {}  # of each trial's values since `first`, and how many
        self.means: defaultdict[int, list[float]] = defaultdict(list)  # of the trials, by epoch; in order

    def stops(self, key: str, epoch: int, value: float | None, best: float) -> bool:
        if value is None or not math.isfinite(value):
            return False
        self.best[key] = max(self.best.get(key, -math.inf), self.sign * value)
        if epoch < self.first:
            return False
        total, count = self.sums.get(key, (0.0, 0))
        self.sums[key] = total, count = total + self.sign * value, count + 1
        others = self.means[epoch]  # a trial comes to an epoch once
        worse = len(others) >= self.min_trials and self.best[key] < _middle(others)
        insort(others, total / count)
        return worse


def _middle(ordered: Sequence[float]) -> float:
    """The median, for which thousands of values are not sorted each time."""
    half = len(ordered) // 2
    return (ordered[half] + ordered[~half]) / 2
