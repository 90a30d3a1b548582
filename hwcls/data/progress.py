"""Progress of a long task: every step for a reporter that draws a bar, a line now and then for any other."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from hwcls.format import format_duration

REPORT_EVERY = 2.0  # seconds
REPORT_LATEST = 60.0  # seconds: a line comes at least as often as this, where there is progress
ProgressReporter = Callable[[str], None]  # called with one line now and then


@runtime_checkable
class StepReporter(Protocol):
    """A ProgressReporter that wants every step."""

    def __call__(self, line: str) -> None:
        """Report one line."""

    def step(self, task: str, done: int, total: int) -> None:
        """Report that `done` of `total` units of `task` are done."""


class ProgressMeter:
    """Reports the progress of one task.

    Args:
        total: Of all units; 0 where it is not known, and then nothing is reported.
        unit: Follows the total in a line, in units of `scale` each.
    """

    def __init__(self, report: ProgressReporter, task: str, total: int, unit: str, scale: float = 1) -> None:
        self.report, self.task, self.total = report, task, total
        self.amount = f"{total / scale:,.{0 if scale == 1 else 1}f} {unit}"
        self._reported, self._tenth = time.monotonic(), 0

    def update(self, done: int, note: str = "") -> None:
        """Note that `done` units are done; reports a line every tenth, but at most every REPORT_EVERY seconds.

        `note` follows a line.
        """
        if not self.total:
            return
        since = time.monotonic() - self._reported
        if isinstance(self.report, StepReporter):
            self.report.step(self.task, done, self.total)
        elif (done * 10 // self.total > self._tenth and since > REPORT_EVERY) or since > REPORT_LATEST:
            self._reported, self._tenth = time.monotonic(), done * 10 // self.total
            self.report(f"{self.task}: {100 * done // self.total} % of {self.amount}{note}")


def rate_note(done: int, left: int, seconds: float) -> str:
    """What follows a line on images: how many a second, by `done` in `seconds`, and how long those left take."""
    if not done or not left or seconds <= 0:
        return ""
    rate = done / seconds
    return f" ({rate:,.0f} images/s, {format_duration(left / rate)} left)"
