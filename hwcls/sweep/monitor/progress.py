"""Progress of a running sweep: the events that a view is notified of, and one log line for each."""

from __future__ import annotations

import logging
from collections import defaultdict
from statistics import fmean
from typing import Any, NamedTuple, Protocol

from hwcls.config.optim import MetricConfig
from hwcls.format import format_duration, format_significant
from hwcls.sweep.monitor.eta import Ahead, Pace
from hwcls.tracking.records import Result

log = logging.getLogger(__name__)


class Progress(Protocol):
    """Is notified of every event of a trial; `key` is its folder within the results."""

    def reached_before(self, key: str, result: Result) -> None: ...  # in an earlier start, whether it ended or not
    def started(
        self,
        key: str,
        label: str | None,
        parameters: dict[str, Any],
        epoch: int,
        epochs: int,
        best: float | None = None,
    ) -> None: ...  # resumes after `epoch`, with `best` so far; 0 for a new one; ends with `epochs` at the latest
    def epoch(self, key: str, line: dict[str, Any]) -> None: ...
    def restarted(self, key: str, error: str) -> None: ...
    def paused(self, key: str, result: Result) -> None: ...  # it waits; `result`: if it is not resumed
    def ended(self, key: str, result: Result) -> None: ...


class ProgressFor(Protocol):
    """Opens the view of a phase: trials (None: unknown), how many have ended, seconds of a budget, what follows."""

    def __call__(
        self, total: int | None, done: int = 0, left: float | None = None, ahead: Ahead | None = None
    ) -> Progress: ...


class Quiet:
    """Shows nothing."""

    def reached_before(self, key: str, result: Result) -> None:
        pass

    def started(
        self,
        key: str,
        label: str | None,
        parameters: dict[str, Any],
        epoch: int,
        epochs: int,
        best: float | None = None,
    ) -> None:
        pass

    def epoch(self, key: str, line: dict[str, Any]) -> None:
        pass

    def restarted(self, key: str, error: str) -> None:
        pass

    def paused(self, key: str, result: Result) -> None:
        pass

    def ended(self, key: str, result: Result) -> None:
        pass


class Leader(NamedTuple):
    """The best trial so far."""

    value: float
    key: str
    label: str | None

    def __str__(self) -> str:
        return f"best {self.value:.4f} ({', '.join([*([self.label] if self.label else []), _name(self.key)])})"


class Lines(Quiet):
    """One log line per event: for logs and pipes.

    Args:
        metric: Of the best trial.
        total: Number of trials; None where only time ends the sweep.
        done: Trials that ended in an earlier start.
        left: Seconds left of a time budget.
        ahead: What follows these trials, for the time that is left.
    """

    start_level = logging.INFO  # of the line about a trial that starts

    def __init__(
        self,
        metric: MetricConfig,
        total: int | None,
        done: int = 0,
        left: float | None = None,
        ahead: Ahead | None = None,
    ) -> None:
        self.metric, self.total = metric, total
        self.pace = Pace(total, done, left, ahead)
        self.best: Leader | None = None
        self.waiting: set[str] = set()  # keys of paused trials
        self.labels: dict[str, str | None] = {}  # alternatives of the trials that have started, by key
        self.confirmed = SeedMeans(metric)

    def reached_before(self, key: str, result: Result) -> None:
        self._note(key, result)

    def _note(self, key: str, result: Result) -> None:
        """Take in what a run has reached."""
        if not result.best or result.status == "failed":  # as in the leaderboard, a failed trial has no result
            return
        value = result.best[self.metric.name]
        if key.startswith("confirm/"):
            self.confirmed.add(key, result, value)
        elif self.best is None or self._leads(value, key):
            self.best = Leader(value, key, result.label)

    def _leads(self, value: float, key: str) -> bool:
        """Whether a trial would rank above the best one in the leaderboard: of equal ones, the lower number does."""
        assert self.best is not None
        if value != self.best.value:
            return self.metric.better(value, self.best.value)
        return _trial_number(key) < _trial_number(self.best.key)

    def started(
        self,
        key: str,
        label: str | None,
        parameters: dict[str, Any],
        epoch: int,
        epochs: int,
        best: float | None = None,
    ) -> None:
        self.pace.started(key, epoch, epochs, label)
        self.labels[key] = label
        if key in self.waiting:
            self.waiting.discard(key)
            log.info("%s is promoted, resumes after epoch %d", self._title(key), epoch)
            return
        verb = f"resumes after epoch {epoch}" if epoch else "starts"
        log.log(self.start_level, "%s %s: %s", self._title(key), verb, describe_parameters(label, parameters))

    def epoch(self, key: str, line: dict[str, Any]) -> None:
        self.pace.epoch(key, line["epoch"], line.get("seconds") or 0.0)

    def restarted(self, key: str, error: str) -> None:
        log.info("%s is restarted: %s", self._title(key), error)

    def paused(self, key: str, result: Result) -> None:
        verb = f"paused{self._last_epoch(key)}"
        self.pace.paused(key)
        self.waiting.add(key)
        self._log_result(key, verb, result)

    def ended(self, key: str, result: Result) -> None:
        verb = result.status.replace("_", " ")
        verb += "" if result.status == "complete" else self._last_epoch(key)
        self.pace.ended(key)
        self.waiting.discard(key)
        self._log_result(key, verb, result)

    def _last_epoch(self, key: str) -> str:
        """Where a trial that runs is, which may be after the epoch of its best value."""
        known = self.pace.running.get(key)
        return f" after epoch {known.epoch}" if known and known.epoch else ""

    def _log_result(self, key: str, verb: str, result: Result) -> None:
        """One line: what a trial reached, whether it is the best so far, and how far the sweep is."""
        before = self.best
        self.labels[key] = result.label
        self._note(key, result)
        name = self.metric.name
        facts = [f"{name} {result.best[name]:.4f} in epoch {result.best['epoch']}"] if result.best else []
        new = self.best is not None and (before is None or self.best.value != before.value)  # the best never gets worse
        facts += ["new best"] if new else []
        facts += [result.error] if result.error else []
        facts += [format_duration(result.seconds), *self._after_result()]
        log.info("%s", " · ".join([f"{self._title(key)} {verb}", *facts]))

    def _title(self, key: str) -> str:
        """The name of a trial with its alternative, which that of a confirm run has already."""
        label = None if key.startswith("confirm/") else self.labels.get(key)
        return f"{_name(key)} ({label})" if label else _name(key)

    def _after_result(self) -> list[str]:
        """What follows a trial's own facts."""
        return self._overall()

    def _overall(self) -> list[str]:
        """Trials done, the best one (of confirm runs the best mean over seeds), and the time left or what follows."""
        facts = [f"{self.pace.done}{'' if self.total is None else f' of {self.total}'} done"]
        facts += [self._describe_leader(self.best)] if self.best else []
        facts += self.confirmed.best()
        if self.pace.finished:
            return [*facts, self.pace.ahead.what]
        left = self.pace.remaining()
        return facts + ([f"{format_duration(left)} left"] if left else [])

    def _describe_leader(self, leader: Leader) -> str:
        return str(leader)


class SeedMeans:
    """The means of confirm runs over their seeds: a single seed may be the best by luck.

    Args:
        metric: Of the means.
    """

    def __init__(self, metric: MetricConfig) -> None:
        self.metric = metric
        self.values: dict[tuple[bool, str, str], dict[str, float]] = defaultdict(dict)  # by key: a run ends once

    def add(self, key: str, result: Result, value: float) -> None:
        """Take a run that has ended."""
        name = f"trial {result.extra.get('trial', '?')}"
        whose = f"{result.label}, {name}" if result.label else name
        picks = result.extra.get("role") == "pick"
        self.values[picks, whose, "picks" if picks else "seeds"][key] = value

    def best(self) -> list[str]:
        """The best mean of two or more seeds; of runs that report, once there are such means, as picks are chosen."""
        means = {group: fmean(found.values()) for group, found in dict(self.values).items() if len(found) > 1}
        able = [group for group in means if not group[0]] or list(means)
        if not able:
            return []
        sign = -1 if self.metric.goal == "minimize" else 1
        group = max(able, key=lambda one: sign * means[one])
        return [f"best mean {means[group]:.4f} over {len(self.values[group])} {group[2]} ({group[1]})"]


def describe_parameters(label: str | None, parameters: dict[str, Any]) -> str:
    """Sampled parameters in one line; numbers with three digits."""
    words = [
        f"{name} {format_significant(value, 3) if isinstance(value, float) else value}"
        for name, value in parameters.items()
    ]
    return ", ".join(words) or label or "the file's settings"


def _trial_number(key: str) -> int:
    last = key.rpartition("/")[2]
    return int(last) if last.isdecimal() else 0


def _name(key: str) -> str:
    return key.replace("trials/", "trial ").replace("confirm/", "confirm run ")
