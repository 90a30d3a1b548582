"""The live table of a running sweep: a row for each trial that runs, as wide and as high as the terminal permits."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.cells import cell_len
from rich.console import Console, Group, JustifyMethod
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hwcls.config.optim import MetricConfig
from hwcls.escape import printable
from hwcls.format import format_cell, order_by_difference
from hwcls.report.terminal.columns import Column, fill_lines, fit_columns, shorten, shorten_names
from hwcls.sweep.monitor.eta import Ahead
from hwcls.sweep.monitor.progress import Leader, Lines, describe_parameters
from hwcls.tracking.records import Result

RECENT = 50  # trials by whose settings the settings are ordered
LEAST_ROWS = 3  # of the table in any terminal
AROUND = 5  # lines of a terminal that the table leaves: its header, and log lines above it
WORDS = ("trial", "alternative", "state", "settings")  # columns that hold words
LEAST_SETTINGS = 24  # characters of the settings, where they are shown at all


class View(Protocol):
    """Shows a table that changes; Rich's Live is one."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def refresh(self) -> None: ...


@dataclass
class Row:
    """A running trial in the live table."""

    name: str
    label: str | None  # its alternative
    parameters: Mapping[str, Any]
    state: str
    epoch: int
    epochs: int
    best: float | None = None
    line: dict[str, Any] = field(default_factory=dict)  # the last epoch's

    def cells(self, metric: str) -> dict[str, str]:
        """What each column but the settings shows."""
        speed, rate = self.line.get("images_per_second"), self.line.get("lr")
        return {
            "trial": self.name,
            "alternative": self.label or "",
            "state": self.state,
            "epoch": f"{self.epoch}/{self.epochs}",
            metric: _format_value(metric, self.line.get(metric)),
            "best": _format_value(metric, self.best),
            "train/loss": _format_value("train/loss", self.line.get("train/loss")),
            "lr": "" if rate is None else f"{rate:.4g}",
            "images/s": f"{speed:,.0f}" if speed else "",
        }


class LiveTable(Lines, AbstractContextManager["LiveTable"]):
    """A table of the running trials; log lines scroll by above it.

    Rich draws it in a thread of its own, so what the driver's thread changes is iterated over as a copy.
    """

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
        self.running: dict[str, Row] = {}
        self.alternatives: set[str] = {""}  # of all trials that have started
        self.recent: deque[Mapping[str, Any]] = deque(maxlen=RECENT)  # settings of trials that started
        self.longest: Counter[str] = Counter()  # characters that columns have needed, so that they do not jump
        self.live = self.open_view()

    def open_view(self) -> View:
        """What shows the table."""
        return Live(console=self.console, refresh_per_second=4, get_renderable=self.render, transient=True)

    def __enter__(self) -> LiveTable:
        self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.live.stop()

    def started(
        self,
        key: str,
        label: str | None,
        parameters: dict[str, Any],
        epoch: int,
        epochs: int,
        best: float | None = None,
    ) -> None:
        super().started(key, label, parameters, epoch, epochs, best)
        self.recent.append(parameters)
        before = self.running.get(key)
        state = "restarting" if before else "resuming" if epoch else "starting"
        row = Row(_row_name(key), label and printable(label), parameters, state, epoch, epochs, best)
        self.alternatives.add(row.label or "")
        if before:
            row.line, row.best = before.line, before.best
        self.running[key] = row
        for column, width in (("trial", len(row.name)), ("alternative", cell_len(row.label or "")), ("epoch", epochs)):
            needed = 2 * len(str(epochs)) + 1 if column == "epoch" else width
            self.longest[column] = max(self.longest[column], needed)

    def epoch(self, key: str, line: dict[str, Any]) -> None:
        super().epoch(key, line)
        if key in self.running:
            row, value = self.running[key], line.get(self.metric.name)
            row.line, row.epoch = line, line["epoch"]
            row.state = "confirming" if key.startswith("confirm/") else "training"
            if value is not None and (row.best is None or self.metric.better(value, row.best)):
                row.best = value

    def restarted(self, key: str, error: str) -> None:
        super().restarted(key, error)
        if key in self.running:
            self.running[key].state = "restarting"

    def paused(self, key: str, result: Result) -> None:
        self._remove(key)
        super().paused(key, result)

    def ended(self, key: str, result: Result) -> None:
        self._remove(key)
        super().ended(key, result)

    def _remove(self, key: str) -> None:
        """Or the log line would appear above a table in which the trial still runs."""
        self.running.pop(key, None)
        self.live.refresh()

    def _after_result(self) -> list[str]:
        return []  # the lines below the table say how far the sweep is

    def render(self) -> Group:
        """The table as it is now, and below it how far the sweep is."""
        width, running = self.console.width, dict(self.running)
        below = fill_lines([shorten(fact, width) for fact in self._facts(bool(running))], width)
        room = max(self.console.height - len(below) - AROUND, LEAST_ROWS)
        rows = running if len(running) <= room else self._choose_rows(running, room - 1)
        if more := len(running) - len(rows):
            below.insert(0, f"+{more} more running")
        return Group(self._table(rows, width), *(Text(line, no_wrap=True, overflow="ellipsis") for line in below))

    def _facts(self, running: bool) -> list[str]:
        begun = running or self.pace.epochs or self.pace.finished
        return [*self._overall(), *([] if begun else ["starting the workers"])]

    def _describe_leader(self, leader: Leader) -> str:
        known = self.alternatives | {printable(leader.label or "")}
        names = shorten_names(known, max(12, self.console.width // 4))
        return str(leader._replace(label=leader.label and names[printable(leader.label)]))

    def _choose_rows(self, running: Mapping[str, Row], count: int) -> dict[str, Row]:
        """Trials that restart, and then the best ones of each alternative in turn; in the order in which they began."""
        sign, turns, place = -1 if self.metric.goal == "maximize" else 1, Counter[str | None](), {}
        ranked = sorted(running, key=lambda key: (running[key].best is None, sign * (running[key].best or 0.0)))
        for rank, key in enumerate(ranked):
            row = running[key]
            place[key] = (row.state != "restarting", turns[row.label], rank)
            turns[row.label] += 1
        chosen = set(sorted(place, key=place.__getitem__)[:count])
        return {key: row for key, row in running.items() if key in chosen}

    def _table(self, rows: Mapping[str, Row], width: int) -> Table:
        settings, metric = self._settings(rows), self.metric.name
        widths = fit_columns(self._columns(max(map(cell_len, settings.values()), default=0)), width)
        order = ("trial", "alternative", "state", "epoch", metric, "best", "train/loss", "lr", "images/s", "settings")
        shown = [column for column in order if column in widths]
        table = Table(box=None, pad_edge=False)
        for column in shown:
            justify: JustifyMethod = "left" if column in WORDS else "right"
            header = Text(column, overflow="ellipsis")
            table.add_column(header, justify=justify, no_wrap=True, overflow="ellipsis", width=widths[column])
        names = shorten_names(set(self.alternatives), widths.get("alternative", 0))
        for key, row in rows.items():
            cells = {**row.cells(metric), "alternative": names[row.label or ""], "settings": settings[key]}
            table.add_row(*(Text(cells[column]) for column in shown))
        return table

    def _columns(self, settings: int) -> list[Column]:
        """Every column, the most important first, when the settings are so many characters long."""
        metric, label = self.metric.name, self.longest["alternative"]
        most = max(label, len("alternative"))
        least = min(most, max(8, self.console.width // 4))
        return [
            Column("trial", max(self.longest["trial"], 8)),
            Column("epoch", max(self.longest["epoch"], 7)),
            Column(metric, len(metric)),
            *([Column("alternative", least, most)] if label else []),
            Column("best", 7),
            Column("state", 10),
            Column("settings", LEAST_SETTINGS, settings),
            Column("lr", 9),
            Column("images/s", 8),
            Column("train/loss", 10),
        ]

    def _settings(self, rows: Mapping[str, Row]) -> dict[str, str]:
        """The settings of each trial in the table without its alternative, those in which recent ones differ first."""
        order = order_by_difference([*self.recent, *(row.parameters for row in rows.values())])
        found = {}
        for key, row in rows.items():
            own = {name: row.parameters[name] for name in order if name in row.parameters}
            own = {name: value for name, value in own.items() if str(value) != row.label}
            found[key] = printable(describe_parameters(None, own)) if own else ""
        return found


def _row_name(key: str) -> str:
    """The name of a trial beside its alternative: trial 3; of a confirm run its seed."""
    kind, _, number = key.rpartition("/")
    return f"seed {number}" if kind.startswith("confirm") else f"trial {number}"


def _format_value(metric: str, value: float | None) -> str:
    return "" if value is None else format_cell(metric, value)
