"""What the user sees while a sweep runs: a live table on a terminal, one plain line per event elsewhere."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table

from hwcls.config.optim import MetricConfig
from hwcls.tracking.records import Result


class Progress(Protocol):
    """What a sweep tells while it runs."""

    def say(self, text: str) -> None: ...
    def known(self, key: str, result: Result) -> None: ...
    def started(self, key: str, label: str | None, parameters: dict[str, Any], epoch: int) -> None: ...
    def epoch(self, key: str, line: dict[str, Any]) -> None: ...
    def retried(self, key: str, error: str) -> None: ...
    def ended(self, key: str, result: Result) -> None: ...


class Quiet:
    """Says nothing."""

    def say(self, text: str) -> None:
        pass

    def known(self, key: str, result: Result) -> None:
        pass

    def started(self, key: str, label: str | None, parameters: dict[str, Any], epoch: int) -> None:
        pass

    def epoch(self, key: str, line: dict[str, Any]) -> None:
        pass

    def retried(self, key: str, error: str) -> None:
        pass

    def ended(self, key: str, result: Result) -> None:
        pass


class Lines(Quiet):
    """One plain line per event: for logs and pipes."""

    def __init__(self, console: Console, metric: MetricConfig, total: int | None, done: int = 0) -> None:
        self.console, self.metric, self.total = console, metric, total
        self.begun: float | None = None  # when the first trial started: Ray's own start is no pace
        self.before = self.done = done  # trials that an earlier start has finished
        self.best: tuple[float, str] | None = None

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def known(self, key: str, result: Result) -> None:
        """A trial that an earlier start has ended."""
        name = self.metric.name
        if result.best and (self.best is None or self.metric.better(result.best[name], self.best[0])):
            self.best = (result.best[name], _name(key))

    def started(self, key: str, label: str | None, parameters: dict[str, Any], epoch: int) -> None:
        self._begin()
        begins = f"goes on after epoch {epoch}" if epoch else "starts"
        self.say(f"{_name(key)} {begins}: {describe(label, parameters)}")

    def retried(self, key: str, error: str) -> None:
        self.say(f"{_name(key)} is restarted: {error}")

    def ended(self, key: str, result: Result) -> None:
        self.done += 1
        self.known(key, result)
        self.say(" · ".join([f"{_name(key)} {result.status.replace('_', ' ')}", *self._facts(result)]))

    def _begin(self) -> None:
        self.begun = self.begun or time.monotonic()

    def _facts(self, result: Result) -> list[str]:
        name = self.metric.name
        facts = [f"{name} {result.best[name]:.4f} in epoch {result.best['epoch']}"] if result.best else []
        facts += [result.error] if result.error else []
        facts += [f"{result.seconds:.1f} s", f"{self.done} of {self.total or '?'}"]
        facts += [f"best {self.best[0]:.4f} ({self.best[1]})"] if self.best else []
        left = self.remaining()
        return facts + ([f"{duration(left)} left"] if left is not None and self.total != self.done else [])

    def remaining(self) -> float | None:
        """Seconds to the end at the pace so far."""
        if self.begun is None or self.done == self.before or self.total is None:
            return None
        return (time.monotonic() - self.begun) / (self.done - self.before) * max(0, self.total - self.done)


class LiveTable(Lines, AbstractContextManager["LiveTable"]):
    """A table of the running trials, with ended ones scrolling by above it."""

    def __init__(self, console: Console, metric: MetricConfig, total: int | None, done: int = 0) -> None:
        super().__init__(console, metric, total, done)
        self.running: dict[str, tuple[str, dict[str, Any]]] = {}
        self.live = Live(console=console, refresh_per_second=4, get_renderable=self._table, transient=True)

    def __enter__(self) -> LiveTable:
        self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.live.stop()

    def started(self, key: str, label: str | None, parameters: dict[str, Any], epoch: int) -> None:
        self._begin()
        self.running[key] = (describe(label, parameters), {})

    def epoch(self, key: str, line: dict[str, Any]) -> None:
        self.running[key] = (self.running.get(key, ("", {}))[0], line)

    def ended(self, key: str, result: Result) -> None:
        self.running.pop(key, None)
        super().ended(key, result)

    def _table(self) -> Table:
        left = self.remaining()
        best = f", best {self.metric.name} {self.best[0]:.4f} ({self.best[1]})" if self.best else ""
        eta = f", {duration(left)} left" if left is not None else ""
        table = Table(
            caption=f"{self.done} of {self.total or '?'} trials done{best}{eta}", caption_justify="left", box=None
        )
        widths = {
            "trial": 9,
            "epoch": 5,
            self.metric.name: len(self.metric.name),
            "train/loss": 10,
            "lr": 9,
            "images/s": 8,
        }
        for column, width in widths.items():
            table.add_column(column, justify="left" if column == "trial" else "right", no_wrap=True, min_width=width)
        room = self.console.width - sum(widths.values()) - 2 * len(widths)
        if room >= 20:  # on a narrow terminal the numbers come first
            table.add_column("settings", overflow="ellipsis", no_wrap=True, max_width=room)
        for key, (settings, line) in self.running.items():
            cells = [line.get("epoch"), line.get(self.metric.name), line.get("train/loss"), line.get("lr")]
            speed = line.get("images_per_second")
            table.add_row(
                _name(key), *map(_cell, cells), f"{speed:,.0f}" if speed else "", *([settings] if room >= 20 else [])
            )
        return table


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


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}"
