"""Early stopping: races of their own for each alternative, rebuilt from the records."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from hwcls.config.sweep import EarlyStopConfig
from hwcls.config.sweep_file import Sweep
from hwcls.sweep.search.median import MedianStop
from hwcls.sweep.search.rungs import rungs

Race = tuple[str | None, int]  # the alternative, and hyperband's bracket


@dataclass(frozen=True)
class _Named:
    """What Ray's schedulers need of a trial: a name that outlives a restart."""

    trial_id: str


class InOrder(FIFOScheduler):  # type: ignore[misc]
    """Trials in the order in which they were asked for, as Tune starts them by itself, until a user stops one."""

    stop_requested: Callable[[str], bool] = staticmethod(lambda key: False)  # by the trial's key

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return str(TrialScheduler.STOP if self.stop_requested(trial.config["key"]) else TrialScheduler.CONTINUE)

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Nothing: Ray's looks through every trial there ever was, at every event."""


class FairStop(InOrder):
    """ASHA or the median rule, one instance per race: trials of different alternatives never stop each other.

    Args:
        config: The rule; asha and hyperband see the best value so far, median each epoch's own.
        first: Epochs before the first decision.
        epochs: The last epoch.
        goal: "maximize" or "minimize".
    """

    metric = "best"

    def __init__(self, config: EarlyStopConfig, first: int, epochs: int, goal: str) -> None:
        super().__init__()
        self.config, self.first, self.epochs = config, first, epochs
        self.mode = "max" if goal == "maximize" else "min"
        self.weights = bracket_weights(config.eta, first, epochs) if config.type == "hyperband" else [1.0]
        self.races: dict[Race, AsyncHyperBandScheduler | MedianStop] = {}
        self.seen: dict[str, int] = {}  # the last epoch of each trial that its race knows of

    def _race(self, label: str | None, key: str) -> AsyncHyperBandScheduler | MedianStop:
        race = label, pick(key, self.weights)
        if race not in self.races:
            self.races[race] = self._open(race[1])
        return self.races[race]

    def _open(self, bracket: int) -> AsyncHyperBandScheduler | MedianStop:
        if self.config.type == "median":
            return MedianStop(self.first, self.config.min_trials, self.mode)
        return AsyncHyperBandScheduler(
            time_attr="epoch",
            metric="best",
            mode=self.mode,
            grace_period=min(self.first * self.config.eta**bracket, self.epochs),
            max_t=self.epochs,
            reduction_factor=self.config.eta,
        )

    def replay(self, label: str | None, key: str, results: Iterable[Mapping[str, Any]]) -> bool:
        """Enter a trial of an earlier start, epoch by epoch; whether the last one stops it."""
        self._race(label, key).on_trial_add(None, _Named(key))
        action = TrialScheduler.CONTINUE
        for result in results:
            action = self._enter(label, key, dict(result))
        return bool(action == TrialScheduler.STOP)

    def _enter(self, label: str | None, key: str, result: dict[str, Any]) -> str:
        self.seen[key] = result["epoch"]
        return str(self._race(label, key).on_trial_result(None, _Named(key), result))

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        key = trial.config["key"]
        self._race(trial.config["label"], key).on_trial_add(tune_controller, _Named(key))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if "failure" in result or self.stop_requested(trial.config["key"]):
            return str(TrialScheduler.STOP)
        return self._enter(trial.config["label"], trial.config["key"], result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Tune brings the result of a trial's last epoch here alone: the race shall know it, as after a restart."""
        key = trial.config["key"]
        if "failure" not in result and result.get("epoch", 0) > self.seen.get(key, 0):
            self._enter(trial.config["label"], key, result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        pass

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        pass


def bracket_weights(eta: int, first: int, epochs: int) -> list[float]:
    """Hyperband's share of trials for each bracket, earliest rung first; the last never stops (arXiv 1603.06560)."""
    most = 0
    while first * eta**most < epochs:
        most += 1
    sizes = [(most + 1) / (s + 1) * eta**s for s in range(most, -1, -1)]
    return [size / sum(sizes) for size in sizes]


def pick(key: str, weights: list[float]) -> int:
    """A place in `weights` by chance, but always the same one for a trial's name."""
    chance = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") / 2**64
    for place, weight in enumerate(weights):
        chance -= weight
        if chance < 0:
            return place
    return len(weights) - 1


def scheduler(sweep: Sweep) -> FairStop | None:
    """The scheduler that the sweep file asks for; None lets every trial run to its end."""
    config = sweep.config.early_terminate
    if config is None:
        return None
    first, epochs = rungs(config, sweep.corners)
    return FairStop(config, first, epochs, sweep.config.metric.goal)
