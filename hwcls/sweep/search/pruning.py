"""Early stopping as Tune's scheduler: alternatives race separately, and races are rebuilt from the records."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from hwcls.config.sweep import EarlyStopping, PausingRule, StoppingRule
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

    A trial that pauses ends for Tune as one that is stopped, which frees its place and its ranks; when it continues, it
    is another trial for Tune, with the same job, as after a restart. (Tune's own PAUSE would count it among the trials
    at once, and nothing of it would survive the driver.)

    Args:
        config: The stopping rule.
        first: Epochs before the first decision.
        epochs: The last epoch.
        goal: "maximize" or "minimize".
        trials: How many an alternative has at most; None where only time ends the search.
    """

    def __init__(
        self,
        config: EarlyStopping,
        first: int,
        epochs: int,
        goal: str,
        trials: Callable[[str | None], int | None] = lambda label: None,
    ) -> None:
        super().__init__()
        self.config, self.epochs, self.trials = config, epochs, trials
        self.mode = "max" if goal == "maximize" else "min"
        self.rungs, self.shares = zip(*config.brackets(first, epochs), strict=True)  # of each bracket
        self.races: dict[Race, StoppingRule] = {}
        self.seen: dict[str, int] = {}  # the last epoch of each trial that its race has
        self.complete: set[str | None] = set()  # alternatives of which a trial has come to its end
        self.pausing: set[str] = set()  # trials that stop at a rung, and are saved first
        self.paused: dict[str, PausingRule] = {}  # trials that wait to go on, and the race of each

    def stops(self, label: str | None, key: str, report: EpochReport) -> bool:
        """Enter an epoch of a trial; whether the trial ends with it.

        Args:
            label: The trial's alternative.
            key: The trial.
            report: Of the epoch; one that the race has already, as after a restart of the trial, changes nothing.
        """
        race, seen = self._race(label, key), self.seen.get(key, 0)
        if report.epoch <= seen:
            return self.config.pauses and report.epoch == seen and cast(PausingRule, race).waits(key)
        self.seen[key] = report.epoch
        if report.done:
            self.complete.add(label)
            if self.config.pauses:
                cast(PausingRule, race).end(key)
        return race.stops(key, report.epoch, report.value, report.best)

    def _race(self, label: str | None, key: str) -> StoppingRule:
        bracket = pick(key, self.shares)
        race = label, bracket
        if race not in self.races:
            self.races[race] = self.config.race(self.rungs[bracket], self.epochs, self.mode)
            if self.config.pauses and (trials := self.trials(label)) is not None:
                cast(PausingRule, self.races[race]).expect(trials)
        return self.races[race]

    def replay(self, label: str | None, key: str, reports: Iterable[EpochReport]) -> bool:
        """Enter a trial of an earlier start, epoch by epoch; whether the last one ends it."""
        stopped = False
        for report in reports:
            stopped = self.stops(label, key, report)
        if self.config.pauses and key in self.seen:  # in another order it may have gone on
            stopped = cast(PausingRule, self._race(label, key)).hold(key, self.seen[key])
        return stopped

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        report, job = report_in(result), job_of(trial)
        if report is None or report.failure is not None or self.stop_requested(job.key):
            return str(TrialScheduler.STOP)
        if not self.stops(job.label, job.key, report):
            return str(TrialScheduler.CONTINUE)
        self.pausing.add(job.key)
        return str(TrialScheduler.STOP)

    def pause(self, label: str | None, key: str) -> bool:
        """Have a trial wait that was stopped at a rung; whether it does: it does not where it is out."""
        if not self.config.pauses:
            return False
        race = cast(PausingRule, self._race(label, key))
        if race.waits(key) and not race.is_out(key):
            self.paused[key] = race
        return key in self.paused

    def leave(self, label: str | None, key: str) -> None:
        """A trial continues, or has ended."""
        self.paused.pop(key, None)
        self.pausing.discard(key)
        if self.config.pauses:
            cast(PausingRule, self._race(label, key)).leave(key)

    def fail(self, label: str | None, key: str) -> None:
        """A trial failed, or a user stopped it: where trials pause, another one may go on in its place."""
        if self.config.pauses:
            cast(PausingRule, self._race(label, key)).fail(key)

    def out(self) -> list[str]:
        """The paused trials that cannot go on any more."""
        races = cast(Iterable[PausingRule], self.races.values()) if self.config.pauses else ()
        return [key for race in races for key in race.out() if key in self.paused]

    def promotable(self, running: Mapping[str, str | None], *, last: bool) -> dict[str | None, str]:
        """Of each alternative the paused trial to go on with, where there is one.

        Args:
            running: The trials that run, and their alternatives.
            last: Whether no new trials are to come.
        """
        lowest: dict[Race, int] = {}
        for key, label in running.items() if self.config.pauses else ():
            race, epoch = (label, pick(key, self.shares)), self.seen.get(key, 0)
            lowest[race] = min(epoch, lowest.get(race, epoch))
        found: dict[str | None, str] = {}
        for race, rule in self.races.items() if self.paused else ():
            chosen = cast(PausingRule, rule).promotable(last=last, lowest=lowest.get(race, math.inf))
            if chosen is not None and chosen in self.paused:
                found.setdefault(race[0], chosen)
        return found

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Enter the last epoch, which Tune reports only here: its race must have it, as after a restart."""
        report, job = report_in(result), job_of(trial)
        if report and report.failure is None:
            self.stops(job.label, job.key, report)
        if job.key in self.pausing:
            self.pausing.discard(job.key)
            self.pause(job.label, job.key)


def pick(key: str, shares: Sequence[float]) -> int:
    """An index into `shares`, drawn by them, but always the same one for a trial's key."""
    if len(shares) == 1:
        return 0
    chance = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") / 2**64
    for index, share in enumerate(shares):
        chance -= share
        if chance < 0:
            return index
    return len(shares) - 1


def build_scheduler(sweep: Sweep) -> FairScheduler | None:
    """The scheduler of a sweep; None where every trial runs to its end."""
    config = sweep.early_stopping
    if config is None:
        return None
    first, epochs = rung_limits(config, sweep.corners)
    return FairScheduler(config, first, epochs, sweep.config.metric.goal, sweep.most_trials)
