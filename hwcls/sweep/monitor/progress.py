"""What the user sees while a sweep runs: a live table on a terminal, one plain line per event elsewhere."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.console import Console, JustifyMethod
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hwcls.config.optim import MetricConfig
from hwcls.sweep.monitor.eta import Pace
from hwcls.tracking.records import Result

COLUMNS = {"trial": 21, "state": 10, "epoch": 7, "train/loss": 10, "lr": 9, "images/s": 8}  # characters, in the table
WORDS = ("trial", "state", "settings")  # columns that hold words


class Progress(Protocol):
    """What a sweep tells while it runs."""

    def say(self, text: str) -> None: ...
    def known(self, key: str, result: Result) -> None: ...
    def started(
        self, key: str, label: str | None, parameters: dict[str, Any], epoch: int, epochs: int
    ) -> None: ...  # goes on after `epoch`, 0 for a new one; ends with `epochs` at the latest
    def epoch(self, key: str, line: dict[str, Any]) -> None: ...
    def retried(self, key: str, error: str) -> None: ...
    def ended(self, key: str, result: Result) -> None: ...


class Quiet:
    """Says nothing."""

    def say(self, text: str) -> None:
        pass

    def known(self, key: str, result: Result) -> None:
        pass

    def started(self, key: str, label: str | None, parameters: dict[str, Any], epoch: int, epochs: int) -> None:
        pass

    def epoch(self, key: str, line: dict[str, Any]) -> None:
        pass

    def retried(self, key: str, error: str) -> None:
        pass

    def ended(self, key: str, result: Result) -> None:
        pass


class Lines(Quiet):
    """One plain line per event: for logs and pipes.

    Args:
        console: Where they go.
        metric: What the best is the best of.
        total: Trials in all; None where only time ends the sweep.
        done: Trials that an earlier start has finished.
        left: Seconds of a time budget.
    """

    def __init__(
        self, console: Console, metric: MetricConfig, total: int | None, done: int = 0, left: float | None = None
    ) -> None:
        self.console, self.metric, self.total = console, metric, total
        self.pace = Pace(total, done, left)
        self.best: tuple[float, str] | None = None

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def known(self, key: str, result: Result) -> None:
        """A trial that an earlier start has ended."""
        name = self.metric.name
        if result.best and (self.best is None or self.metric.better(result.best[name], self.best[0])):
            self.best = (result.best[name], _name(key))

    def started(self, key: str, label: str | None, parameters: dict[str, Any], epoch: int, epochs: int) -> None:
        self.pace.started(key, epoch, epochs)
        begins = f"goes on after epoch {epoch}" if epoch else "starts"
        self.say(f"{_name(key)} {begins}: {describe(label, parameters)}")

    def epoch(self, key: str, line: dict[str, Any]) -> None:
        self.pace.epoch(key, line["epoch"], line.get("seconds") or 0.0)

    def retried(self, key: str, error: str) -> None:
        self.say(f"{_name(key)} is restarted: {error}")

    def ended(self, key: str, result: Result) -> None:
        self.pace.ended(key)
        self.known(key, result)
        self.say(" · ".join([f"{_name(key)} {result.status.replace('_', ' ')}", *self._facts(result)]))

    def _facts(self, result: Result) -> list[str]:
        name = self.metric.name
        facts = [f"{name} {result.best[name]:.4f} in epoch {result.best['epoch']}"] if result.best else []
        facts += [result.error] if result.error else []
        return [*facts, f"{result.seconds:.1f} s", *self._whole()]

    def _whole(self) -> list[str]:
        """How far the sweep is, its best trial, and when it will end."""
        facts = [f"{self.pace.done}{'' if self.total is None else f' of {self.total}'} done"]
        facts += [f"best {self.best[0]:.4f} ({self.best[1]})"] if self.best else []
        left = self.pace.remaining()
        return facts + ([f"{duration(left)} left"] if left is not None and self.pace.done != self.total else [])


@dataclass
class _Row:
    """A running trial as the live table shows it."""

    settings: str
    state: str
    epoch: int
    epochs: int
    line: dict[str, Any] = field(default_factory=dict)  # the last epoch's


class LiveTable(Lines, AbstractContextManager["LiveTable"]):
    """A table of the running trials, with ended ones scrolling by above it."""

    def __init__(
        self, console: Console, metric: MetricConfig, total: int | None, done: int = 0, left: float | None = None
    ) -> None:
        super().__init__(console, metric, total, done, left)
        self.running: dict[str, _Row] = {}
        self.live = Live(console=console, refresh_per_second=4, get_renderable=self._table, transient=True)

    def __enter__(self) -> LiveTable:
        self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.live.stop()

    def started(self, key: str, label: str | None, parameters: dict[str, Any], epoch: int, epochs: int) -> None:
        self.pace.started(key, epoch, epochs)
        before = self.running.get(key)
        row = _Row(describe(label, parameters), "resuming" if epoch else "starting", epoch, epochs)
        self.running[key] = row if before is None else _Row(row.settings, "restarting", epoch, epochs, before.line)

    def epoch(self, key: str, line: dict[str, Any]) -> None:
        super().epoch(key, line)
        if key in self.running:
            row = self.running[key]
            row.line, row.epoch = line, line["epoch"]
            row.state = "confirming" if key.startswith("confirm/") else "training"

    def retried(self, key: str, error: str) -> None:
        super().retried(key, error)
        if key in self.running:
            self.running[key].state = "restarting"

    def ended(self, key: str, result: Result) -> None:
        self.running.pop(key, None)
        self.live.refresh()  # or the line would stand above a table in which the trial still runs
        super().ended(key, result)

    def _table(self) -> Table:
        table = Table(caption=" · ".join(self._whole()), caption_justify="left", box=None)
        shown, name = self._columns(), self.metric.name
        for column in shown:
            width = None if column == "settings" else COLUMNS.get(column, len(name))
            justify: JustifyMethod = "left" if column in WORDS else "right"
            table.add_column(column, justify=justify, no_wrap=True, overflow="ellipsis", min_width=width)
        for key, row in self.running.items():
            speed, line = row.line.get("images_per_second"), row.line
            cells = {
                "trial": _short(_name(key), COLUMNS["trial"]),
                "state": row.state,
                "epoch": f"{row.epoch}/{row.epochs}",
            }
            cells |= {name: _cell(line.get(name)), "lr": _cell(line.get("lr")), "settings": row.settings}
            cells |= {"train/loss": _cell(line.get("train/loss")), "images/s": f"{speed:,.0f}" if speed else ""}
            table.add_row(*(Text(cells[column]) for column in shown))
        return table

    def _columns(self) -> list[str]:
        """What the terminal has room for: on a narrow one what every sweep needs."""
        columns = ["trial", "state", "epoch", self.metric.name, "lr", "images/s"]
        room = self.console.width - sum(COLUMNS.get(column, len(column)) + 2 for column in columns)
        if room >= COLUMNS["train/loss"] + 2:
            columns.insert(4, "train/loss")
            room -= COLUMNS["train/loss"] + 2
        return [*columns, "settings"] if room >= 20 else columns


def describe(label: str | None, parameters: dict[str, Any]) -> str:
    """Drawn settings in one line; numbers with three digits."""
    words = [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in parameters.items()
    ]
    return ", ".join(words) or label or "the file's settings"


def duration(seconds: float) -> str:
    """12 s, 3 min, 1 h 20 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _name(key: str) -> str:
    return key.replace("trials/", "trial ").replace("confirm/", "confirm ")


def _short(name: str, width: int) -> str:
    """A name cut in its middle: what tells trials apart stands at its end."""
    return name if len(name) <= width else f"{name[: width - 11]}…{name[-10:]}"


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}"
