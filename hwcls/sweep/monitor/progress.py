"""Progress of a running sweep: a live table on a terminal, one log line per event elsewhere."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice
from statistics import fmean
from typing import Any, Protocol

from rich.console import Console, JustifyMethod
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hwcls.config.optim import MetricConfig
from hwcls.format import format_duration, order_by_difference
from hwcls.sweep.monitor.eta import Ahead, Pace
from hwcls.tracking.records import Result

log = logging.getLogger(__name__)

COLUMNS = {"trial": 21, "state": 10, "epoch": 7, "train/loss": 10, "lr": 9, "images/s": 8}  # characters, in the table
TRIAL, SETTINGS = 10, 30  # characters of "trial 1234", and those that the settings get before other columns do
RECENT = 50  # trials
LEAST_ROWS, AROUND = 5, 4  # rows of the table in any terminal, and lines that it needs for the rest of it
WORDS = ("trial", "state", "settings")  # columns that hold words


class Progress(Protocol):
    """Is notified of every event of a trial; `key` is its folder within the results."""

    def ended_before(self, key: str, result: Result) -> None: ...  # in an earlier start
    def started(
        self, key: str, label: str | None, parameters: dict[str, Any], epoch: int, epochs: int
    ) -> None: ...  # resumes after `epoch`, 0 for a new one; ends with `epochs` at the latest
    def epoch(self, key: str, line: dict[str, Any]) -> None: ...
    def restarted(self, key: str, error: str) -> None: ...
    def paused(self, key: str, result: Result) -> None: ...  # it waits; `result`: if it does not go on
    def ended(self, key: str, result: Result) -> None: ...


class View(Protocol):
    """Shows a table that changes; Rich's Live is one."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def refresh(self) -> None: ...


class ProgressFor(Protocol):
    """Opens the view of a phase: trials (None: unknown), how many have ended, seconds of a budget, what follows."""

    def __call__(
        self, total: int | None, done: int = 0, left: float | None = None, ahead: Ahead | None = None
    ) -> Progress: ...


class Quiet:
    """Shows nothing."""

    def ended_before(self, key: str, result: Result) -> None:
        pass

    def started(self, key: str, label: str | None, parameters: dict[str, Any], epoch: int, epochs: int) -> None:
        pass

    def epoch(self, key: str, line: dict[str, Any]) -> None:
        pass

    def restarted(self, key: str, error: str) -> None:
        pass

    def paused(self, key: str, result: Result) -> None:
        pass

    def ended(self, key: str, result: Result) -> None:
        pass


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
        self.best: tuple[float, str] | None = None  # the value and the key of the best trial
        self.confirmed = SeedMeans(metric)

    def ended_before(self, key: str, result: Result) -> None:
        if not result.best:
            return
        value = result.best[self.metric.name]
        if key.startswith("confirm/"):
            self.confirmed.add(key, result, value)
        elif self.best is None or self._leads(value, key):
            self.best = value, key

    def _leads(self, value: float, key: str) -> bool:
        """Whether a trial would stand before the best one in the leaderboard: of equal ones the lower number does."""
        assert self.best is not None
        if value != self.best[0]:
            return self.metric.better(value, self.best[0])
        return _number(key) < _number(self.best[1])

    def started(self, key: str, label: str | None, parameters: dict[str, Any], epoch: int, epochs: int) -> None:
        self.pace.started(key, epoch, epochs, label)
        verb = f"resumes after epoch {epoch}" if epoch else "starts"
        log.log(self.start_level, "%s %s: %s", _name(key), verb, describe_parameters(label, parameters))

    def epoch(self, key: str, line: dict[str, Any]) -> None:
        self.pace.epoch(key, line["epoch"], line.get("seconds") or 0.0)

    def restarted(self, key: str, error: str) -> None:
        log.info("%s is restarted: %s", _name(key), error)

    def paused(self, key: str, result: Result) -> None:
        self.pace.paused(key)
        self.ended_before(key, result)
        log.info(" · ".join([f"{_name(key)} paused", *self._facts(result)]))

    def ended(self, key: str, result: Result) -> None:
        self.pace.ended(key)
        self.ended_before(key, result)
        log.info(" · ".join([f"{_name(key)} {result.status.replace('_', ' ')}", *self._facts(result)]))

    def _facts(self, result: Result) -> list[str]:
        name = self.metric.name
        facts = [f"{name} {result.best[name]:.4f} in epoch {result.best['epoch']}"] if result.best else []
        facts += [result.error] if result.error else []
        return [*facts, format_duration(result.seconds), *self._overall()]

    def _overall(self) -> list[str]:
        """Trials done, the best one (of confirm runs the best mean over seeds), and the time left or what follows."""
        facts = [f"{self.pace.done}{'' if self.total is None else f' of {self.total}'} done"]
        facts += [f"best {self.best[0]:.4f} ({_name(self.best[1])})"] if self.best else []
        facts += self.confirmed.best()
        if self.pace.finished:
            return [*facts, self.pace.ahead.what]
        left = self.pace.remaining()
        return facts + ([f"{format_duration(left)} left"] if left else [])


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
        means = {group: fmean(found.values()) for group, found in self.values.items() if len(found) > 1}
        able = [group for group in means if not group[0]] or list(means)
        if not able:
            return []
        sign = -1 if self.metric.goal == "minimize" else 1
        group = max(able, key=lambda one: sign * means[one])
        return [f"best mean {means[group]:.4f} over {len(self.values[group])} {group[2]} ({group[1]})"]


@dataclass
class _Row:
    """A running trial in the live table."""

    label: str | None
    parameters: dict[str, Any]
    state: str
    epoch: int
    epochs: int
    line: dict[str, Any] = field(default_factory=dict)  # the last epoch's


class LiveTable(Lines, AbstractContextManager["LiveTable"]):
    """A table of the running trials; log lines scroll by above it."""

    start_level = logging.DEBUG  # the table shows it

    def __init__(
        self,
        console: Console,
        metric: MetricConfig,
        total: int | None,
        done: int = 0,
        left: float | None = None,
        ahead: Ahead | None = None,
    ) -> None:
        super().__init__(metric, total, done, left, ahead)
        self.console = console
        self.running: dict[str, _Row] = {}
        self.recent: deque[dict[str, Any]] = deque(maxlen=RECENT)  # settings of trials that started, by which to order
        self.live = self.open_view()

    def open_view(self) -> View:
        """What shows the table."""
        return Live(console=self.console, refresh_per_second=4, get_renderable=self._table, transient=True)

    def __enter__(self) -> LiveTable:
        self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.live.stop()

    def started(self, key: str, label: str | None, parameters: dict[str, Any], epoch: int, epochs: int) -> None:
        super().started(key, label, parameters, epoch, epochs)
        self.recent.append(parameters)
        before = self.running.get(key)
        state = "restarting" if before else "resuming" if epoch else "starting"
        self.running[key] = _Row(label, parameters, state, epoch, epochs, before.line if before else {})

    def epoch(self, key: str, line: dict[str, Any]) -> None:
        super().epoch(key, line)
        if key in self.running:
            row = self.running[key]
            row.line, row.epoch = line, line["epoch"]
            row.state = "confirming" if key.startswith("confirm/") else "training"

    def restarted(self, key: str, error: str) -> None:
        super().restarted(key, error)
        if key in self.running:
            self.running[key].state = "restarting"

    def paused(self, key: str, result: Result) -> None:
        self.running.pop(key, None)
        self.live.refresh()
        super().paused(key, result)

    def ended(self, key: str, result: Result) -> None:
        self.running.pop(key, None)
        self.live.refresh()  # or the log line would appear above a table in which the trial still runs
        super().ended(key, result)

    def _table(self) -> Table:
        begun = self.running or self.pace.epochs or self.pace.finished
        rows = dict(islice(self.running.items(), max(self.console.height - AROUND, LEAST_ROWS)))
        caption = [*self._overall(), *([] if begun else ["starting the workers"])]
        caption += [f"{more} more run"] if (more := len(self.running) - len(rows)) else []
        table = Table(caption=" · ".join(caption), caption_justify="left", box=None)
        settings, name = self._settings(rows), self.metric.name
        widths = self._widths(max(map(len, settings.values()), default=0))
        shown = list(widths)
        for column in shown:
            width = None if column == "settings" else widths[column]
            justify: JustifyMethod = "left" if column in WORDS else "right"
            table.add_column(column, justify=justify, no_wrap=True, overflow="ellipsis", min_width=width)
        for key, row in rows.items():
            speed, line = row.line.get("images_per_second"), row.line
            cells = {
                "trial": _short(_name(key), widths["trial"]),
                "state": row.state,
                "epoch": f"{row.epoch}/{row.epochs}",
            }
            cells |= {name: _cell(line.get(name)), "lr": _cell(line.get("lr")), "settings": settings[key]}
            cells |= {"train/loss": _cell(line.get("train/loss")), "images/s": f"{speed:,.0f}" if speed else ""}
            texts = {column: Text(cells[column]) for column in shown}
            if "settings" in texts:
                texts["settings"].truncate(widths["settings"], overflow="ellipsis")
            table.add_row(*texts.values())
        return table

    def _settings(self, rows: Mapping[str, _Row]) -> dict[str, str]:
        """The settings of each trial in the table: its alternative, then those in which recent trials differ most."""
        order = order_by_difference([*self.recent, *(row.parameters for row in rows.values())])
        found = {}
        for key, row in rows.items():
            names = sorted(row.parameters, key=lambda name: (str(row.parameters[name]) != row.label, order.index(name)))
            ordered = {name: row.parameters[name] for name in names}
            found[key] = describe_parameters(row.label, ordered)
        return found

    def _widths(self, longest: int) -> dict[str, int]:
        """The columns that fit the terminal, with their widths; a narrow one gets those that tell the trials apart."""
        confirm = any(key.startswith("confirm/") for key in self.running)
        metric = self.metric.name
        widths = {**COLUMNS, "trial": COLUMNS["trial"] if confirm else TRIAL, metric: len(metric)}
        kept = ["trial", "state", "epoch", metric]
        space = self.console.width - sum(widths[column] + 2 for column in kept)
        widths["settings"] = min(max(longest, len("settings")), SETTINGS, max(space - 2, 20))
        for column in ("settings", "lr", "images/s", "train/loss"):
            if widths[column] + 2 <= space:
                space -= widths[column] + 2
                kept.append(column)
        widths["settings"] += space
        order = ("trial", "state", "epoch", metric, "train/loss", "lr", "images/s", "settings")
        return {column: widths[column] for column in order if column in kept}


def describe_parameters(label: str | None, parameters: dict[str, Any]) -> str:
    """Sampled parameters in one line; numbers with three digits."""
    words = [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in parameters.items()
    ]
    return ", ".join(words) or label or "the file's settings"


def _number(key: str) -> int:
    last = key.rpartition("/")[2]
    return int(last) if last.isdecimal() else 0


def _name(key: str) -> str:
    return key.replace("trials/", "trial ").replace("confirm/", "confirm ")


def _short(name: str, width: int) -> str:
    """A name cut in its middle: its end identifies the trial."""
    return name if len(name) <= width else f"{name[: width - 11]}…{name[-10:]}"


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}"
