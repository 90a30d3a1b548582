"""Early stopping as Tune's scheduler: alternatives race separately, and races are rebuilt from the records."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from hwcls.config.sweep import EarlyStopping, StoppingRule
from hwcls.config.sweep_file import Sweep
from hwcls.sweep.search.messages import EpochReport, job_of, report_in
from hwcls.sweep.search.rungs import rung_limits

Race = tuple[str | None, int]  # the alternative, and its bracket


class FifoScheduler(FIFOScheduler):  # type: ignore[misc]
    """Trials in the order in which they were drawn, as Tune starts them by itself, until a user stops one."""

    stop_requested: Callable[[str], bool] = staticmethod(lambda key: False)  # by the trial's key

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return str(TrialScheduler.STOP if self.stop_requested(job_of(trial).key) else TrialScheduler.CONTINUE)

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Nothing: Ray's looks through every trial there ever was, at every event."""


class FairScheduler(FifoScheduler):
    """One race per alternative and bracket: trials of different alternatives never stop each other.

    Args:
        config: The stopping rule.
        first: Epochs before the first decision.
        epochs: The last epoch.
        goal: "maximize" or "minimize".
    """

    def __init__(self, config: EarlyStopping, first: int, epochs: int, goal: str) -> None:
        super().__init__()
        self.config, self.epochs = config, epochs
        self.mode = "max" if goal == "maximize" else "min"
        self.rungs, self.shares = zip(*config.brackets(first, epochs), strict=True)  # of each bracket
        self.races: dict[Race, StoppingRule] = {}
        self.seen: dict[str, int] = {}  # the last epoch of each trial that its race has

    def stops(self, label: str | None, key: str, report: EpochReport) -> bool:
        """Enter an epoch of a trial; whether the trial ends with it.

        Args:
            label: The trial's alternative.
            key: The trial.
            report: Of the epoch; one that the race has already, as after a restart of the trial, changes nothing.
        """
        if report.epoch <= self.seen.get(key, 0):
            return False
        bracket = pick(key, self.shares)
        race = label, bracket
        if race not in self.races:
            self.races[race] = self.config.rule(self.rungs[bracket], self.epochs, self.mode)
        self.seen[key] = report.epoch
        return self.races[race].stops(key, report.epoch, report.value, report.best)

    def replay(self, label: str | None, key: str, reports: Iterable[EpochReport]) -> bool:
        """Enter a trial of an earlier start, epoch by epoch; whether the last one ends it."""
        stopped = False
        for report in reports:
            stopped = self.stops(label, key, report)
        return stopped

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        report, job = report_in(result), job_of(trial)
        if report is None or report.failure is not None or self.stop_requested(job.key):
            return str(TrialScheduler.STOP)
        return str(TrialScheduler.STOP if self.stops(job.label, job.key, report) else TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Enter the last epoch, which Tune reports only here: its race must have it, as after a restart."""
        report, job = report_in(result), job_of(trial)
        if report and report.failure is None:
            self.stops(job.label, job.key, report)


def pick(key: str, shares: Sequence[float]) -> int:
    """An index into `shares`, drawn by them, but always the same one for a trial's key."""
    chance = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") / 2**64
    for index, share in enumerate(shares):
        chance -= share
        if chance < 0:
            return index
    return len(shares) - 1


def build_scheduler(sweep: Sweep) -> FairScheduler | None:
    """The scheduler of a sweep; None where every trial runs to its end."""
    config = sweep.config.early_terminate
    if config is None:
        return None
    first, epochs = rung_limits(config, sweep.corners)
    return FairScheduler(config, first, epochs, sweep.config.metric.goal)
