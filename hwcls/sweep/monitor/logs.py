"""The log of a sweep: one line per event on the terminal, and the same with times in a file.

The terminal gets INFO and above; the file also gets DEBUG: versions, how a start ended, what the live table shows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hwcls.escape import hide_credentials, printable

if TYPE_CHECKING:
    from rich.console import Console


TIME = 11  # characters before each line of a terminal


@contextmanager
def log_to_console(console: Console) -> Iterator[None]:
    """Log to a console while the block runs: by Rich on a terminal, in plain lines elsewhere."""
    handler: logging.Handler = _Lines(console)
    handler.setFormatter(_Message())
    if console.is_terminal:
        from rich.highlighter import NullHighlighter
        from rich.logging import RichHandler

        handler = RichHandler(
            console=console, show_level=False, show_path=False, highlighter=NullHighlighter(), log_time_format="[%X]"
        )
        handler.setFormatter(_Facts(console))
    with _attached(handler, logging.INFO):
        yield


@contextmanager
def log_to_file(path: Path) -> Iterator[None]:
    """Append to a log file while the block runs."""
    handler = _File(path, encoding="utf-8", delay=True)
    handler.setFormatter(_Timed("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    with _attached(handler, logging.DEBUG):
        yield


@contextmanager
def _attached(handler: logging.Handler, level: int) -> Iterator[None]:
    logger = logging.getLogger("hwcls")
    before = logger.level
    handler.setLevel(level)
    logger.addHandler(handler)
    logger.setLevel(min(level, before or level))
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
        handler.close()


class _Message(logging.Formatter):
    """The message alone, without the credentials of a URL; a warning begins with `note:`."""

    def format(self, record: logging.LogRecord) -> str:
        text = printable(hide_credentials(record.getMessage()), "\n")
        return f"note: {text}" if record.levelno >= logging.WARNING else text


class _Facts(_Message):
    """For a terminal, whose lines break between two facts; Rich breaks those that are longer between two words."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def format(self, record: logging.LogRecord) -> str:
        from hwcls.report.terminal.columns import JOINT, fill_lines

        return "\n".join(fill_lines(super().format(record).split(JOINT), self.console.width - TIME))


class _Timed(logging.Formatter):
    """With time, level and module, without the credentials of a URL."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(hide_credentials(super().format(record)), "\n\t")


class _Lines(logging.Handler):
    """Prints to a console that is no terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        self.console.print(self.format(record), markup=False, highlight=False, soft_wrap=True)


class _File(logging.FileHandler):
    """A log that cannot be written stops nothing: a full disk is reported where records are written."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        pass
