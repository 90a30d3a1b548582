"""The live table in a notebook: one output of the cell, replaced as the sweep proceeds."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console, RenderableType

from hwcls.sweep.monitor.live_table import LiveTable
from hwcls.tracking.records import Result

INTERVAL = 0.5  # seconds between two pictures of the table, at least


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook: then IPython is loaded, and its shell has a kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class NotebookView:
    """An output of the cell that runs; the text of what `render` gives is shown in it.

    Args:
        console: Which text it is, and how wide.
        render: What to show now.
    """

    def __init__(self, console: Console, render: Callable[[], RenderableType]) -> None:
        self.console, self.render = console, render
        self.shown = 0.0  # when
        self.output: Any = None

    def start(self) -> None:
        """Show it below what the cell has shown."""
        self.output = importlib.import_module("IPython.display").display(self._content(), raw=True, display_id=True)

    def refresh(self) -> None:
        """Show what is to be shown now."""
        self.output.update(self._content(), raw=True)

    def refresh_sometimes(self) -> None:
        """The same, unless that was done just before."""
        if time.monotonic() - self.shown >= INTERVAL:
            self.refresh()

    def stop(self) -> None:
        """Leave the output empty."""
        self.output.update({"text/plain": ""}, raw=True)

    def _content(self) -> dict[str, str]:
        self.shown = time.monotonic()
        with self.console.capture() as found:
            self.console.print(self.render())
        return {"text/plain": found.get()}


class NotebookTable(LiveTable):
    """The live table in a notebook; log lines appear beneath it."""

    def open_view(self) -> NotebookView:
        self.view = NotebookView(self.console, self.render)
        return self.view

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
        self.view.refresh()

    def epoch(self, key: str, line: dict[str, Any]) -> None:
        super().epoch(key, line)
        self.view.refresh_sometimes()

    def ended(self, key: str, result: Result) -> None:
        super().ended(key, result)
        self.view.refresh()
