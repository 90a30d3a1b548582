"""The median stopping rule (Vizier, KDD 2017): whatever is worse than the middle of the others ends."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from statistics import median
from typing import Any

from ray.tune.schedulers import TrialScheduler


class MedianStop:
    """Stops a trial whose best value is worse than the median of the others' means up to the same epoch.

    Decides as Ray's MedianStoppingRule does, which goes through all epochs of all trials for it.

    Args:
        first: The first epoch that is decided on, and the first that a mean is taken over.
        least: So many others must have come as far.
        mode: "max" or "min".
    """

    def __init__(self, first: int, least: int, mode: str) -> None:
        self.first, self.least, self.sign = first, least, 1 if mode == "max" else -1
        self.best: dict[str, float] = {}  # of each trial; more is better
        self.sums: dict[str, tuple[float, int]] = {}  # of each trial's values since `first`, and how many
        self.means: defaultdict[int, dict[str, float]] = defaultdict(dict)  # by epoch and trial

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        pass

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
        """Take one epoch's value, epochs in order; Tune's CONTINUE or STOP."""
        name, epoch, value = trial.trial_id, result["epoch"], result.get("value")
        if value is None or not math.isfinite(value):
            return str(TrialScheduler.CONTINUE)
        self.best[name] = max(self.best.get(name, -math.inf), self.sign * value)
        if epoch < self.first:
            return str(TrialScheduler.CONTINUE)
        total, count = self.sums.get(name, (0.0, 0))
        self.sums[name] = total, count = total + self.sign * value, count + 1
        others = [mean for other, mean in self.means[epoch].items() if other != name]
        self.means[epoch][name] = total / count
        worse = len(others) >= self.least and self.best[name] < median(others)
        return str(TrialScheduler.STOP if worse else TrialScheduler.CONTINUE)
