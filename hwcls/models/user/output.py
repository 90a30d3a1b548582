"""What a user's code prints goes to standard error, and only so much of it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

LIMIT = 4_000  # characters of one trial


class _Count:
    """Characters that the user's code of this process has printed since `start_counting`."""

    printed = 0
    reported = False


def start_counting() -> None:
    """A new trial: it may print again."""
    _Count.printed, _Count.reported = 0, False


def dropped_characters() -> int:
    """How many characters were not passed on since `start_counting`."""
    return max(0, _Count.printed - LIMIT)


@contextmanager
def bounded_output() -> Iterator[None]:
    """What this thread prints in the block goes to standard error, up to LIMIT; then a line tells what was dropped."""
    if isinstance(sys.stdout, _Bounded):
        yield
        return
    before, errors = dropped_characters(), sys.stderr
    out, err = cast(TextIO, _Bounded(sys.stdout, errors)), cast(TextIO, _Bounded(errors, errors))
    try:
        with redirect_stdout(out), redirect_stderr(err):
            yield
    finally:
        if dropped_characters() > before and not _Count.reported:
            _Count.reported = True
            errors.write(f"\nhwcls: {describe_dropped()}\n")


def describe_dropped() -> str:
    """What was dropped, in words."""
    return f"the model's code prints a lot: {dropped_characters():,} characters were left out"


class _Bounded:
    """Stands for a stream: other threads write to it as before."""

    def __init__(self, stream: TextIO, errors: TextIO) -> None:
        self.stream, self.errors, self.thread = stream, errors, threading.get_ident()

    def write(self, text: str) -> int:
        if threading.get_ident() != self.thread:
            return self.stream.write(text)
        if kept := text[: max(0, LIMIT - _Count.printed)]:
            self.errors.write(kept)
        _Count.printed += len(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
