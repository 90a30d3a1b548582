"""Progress of a long task on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hwcls.cli.console import print_to_stderr
from hwcls.escape import printable
from hwcls.report.terminal.console import terminal_console


@contextmanager
def progress_reporter() -> Iterator[Callable[[str], None]]:
    """Yields the `progress` argument of the data functions; the bars disappear at the end."""
    if not sys.stderr.isatty():
        yield print_to_stderr
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=terminal_console(stderr=True), transient=True) as bars:
        yield _RichBars(bars)


class _RichBars:
    """hwcls.data.progress.StepReporter, drawn by Rich: one bar per task."""

    def __init__(self, bars: Any) -> None:
        self.bars = bars
        self.tasks: dict[str, Any] = {}

    def __call__(self, line: str) -> None:
        self.bars.console.print(line)

    def step(self, task: str, done: int, total: int) -> None:
        if task not in self.tasks:
            self.tasks[task] = self.bars.add_task(printable(task), total=total)
        self.bars.update(self.tasks[task], completed=done)
