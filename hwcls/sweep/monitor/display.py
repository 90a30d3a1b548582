"""The view of a sweep's progress that fits where it is shown: a terminal, a notebook, or a file or pipe."""

from __future__ import annotations

from rich.console import Console

from hwcls.config.optim import MetricConfig
from hwcls.sweep.monitor.eta import Ahead
from hwcls.sweep.monitor.live_table import LiveTable
from hwcls.sweep.monitor.notebook import NotebookTable, in_notebook
from hwcls.sweep.monitor.progress import Lines, Progress


class ProgressDisplay:
    """Opens the view of each phase of a sweep, until the block ends: a live table where there can be one, else lines.

    Args:
        console: Where log lines go; a quiet one shows nothing.
        metric: Of the best trial.
    """

    def __init__(self, console: Console, metric: MetricConfig) -> None:
        self.console, self.metric = console, metric
        self.live: LiveTable | None = None

    def progress(
        self, total: int | None, done: int = 0, left: float | None = None, ahead: Ahead | None = None
    ) -> Progress:
        """As ProgressFor."""
        self.__exit__()
        moves_cursor = self.console.is_terminal and not self.console.is_dumb_terminal
        table = LiveTable if moves_cursor else NotebookTable if in_notebook() else None
        if table is None or self.console.quiet:
            return Lines(self.metric, total, done, left, ahead)
        self.live = table(self.console, self.metric, total, done, left, ahead).__enter__()
        return self.live

    def __enter__(self) -> ProgressDisplay:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.live is not None:
            self.live.__exit__(*exception)
            self.live = None
