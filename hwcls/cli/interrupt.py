"""Ctrl-C, however often and whenever: one line and exit code 130, never a traceback."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

PATIENCE = 2  # interrupts that save and clean up; the next one ends the process at once
CODE = 130
_SHOW_CURSOR = "\x1b[?25h"  # which a progress display may have hidden

_count = PATIENCE  # interrupts until now; until a command begins there is nothing to save


def handle_interrupts() -> None:
    """Handle SIGINT from now on, and keep tracebacks of interrupts off the terminal."""
    before, unraisable = sys.excepthook, sys.unraisablehook

    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            before(kind, error, trace)
            return
        _end()  # outside of any command, such as during imports

    def ignored(found: Any) -> None:
        if not issubclass(found.exc_type, KeyboardInterrupt):
            unraisable(found)

    sys.excepthook, sys.unraisablehook = uncaught, ignored
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupt)
        # the last of these callbacks; then Python would restore the default, which ends a process without its exit code
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


@contextmanager
def acknowledged(report: Callable[[], None]) -> Iterator[None]:
    """At the first Ctrl-C in the block `report` is called at once, in a thread, whoever handles the signal and when."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_report_once, args=(reader, report), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)


def _report_once(reader: int, report: Callable[[], None]) -> None:
    reported = False
    with open(reader, "rb", buffering=0) as signals:
        while number := signals.read(1):
            if number[0] == signal.SIGINT and not reported:
                reported = True
                report()


def command_begins() -> None:
    """From now on an interrupt is an exception, which the command handles."""
    global _count
    _count = 0


def leave_at_once() -> None:
    """The command has ended: a later interrupt finds nothing to save."""
    global _count
    _count = PATIENCE


def _interrupt(*_: Any) -> None:
    global _count
    _count += 1
    if _count > PATIENCE:
        _end()
    raise KeyboardInterrupt


def _end() -> None:
    """End this process at once: every finished record is on disk."""
    text = (_SHOW_CURSOR if os.isatty(2) else "") + "hwcls: interrupted\n"
    try:
        os.write(2, text.encode())
    finally:
        os._exit(CODE)
