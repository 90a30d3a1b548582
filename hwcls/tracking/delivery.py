"""Delivery: hands runs to one tracker, and retries those that the tracker did not take."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from hwcls.tracking.folders import PAUSED
from hwcls.tracking.json_lines import read_lines_from
from hwcls.tracking.shapes import is_record
from hwcls.tracking.tracker import RunInfo, Tracker

log = logging.getLogger(__name__)

RETRY_SECONDS, MAX_RETRY_SECONDS = 10.0, 600.0  # until a failed run is tried again: doubled each time
LINE_DELAY = 2.0  # seconds after which a run's newest line is delivered without waiting for the end of the run
CLOSING = "the end of the sweep"  # in place of a run's key in errors
PAUSE_SECONDS = 5.0  # for a tracker after two failures in a row: its server may be down


class WatchedRun:
    """A run and the state of its files at the last pass."""

    def __init__(self, info: RunInfo) -> None:
        self.info = info
        self.size = 0  # bytes of metrics.jsonl
        self.written = 0.0  # time of its last change, in seconds of time.time()
        self.ended = 0  # time of result.json, in ns; 0 while it does not exist
        self.standing = (False, False)  # whether the sweep's best/ is a copy of it, and whether it is on its front
        self.is_paused = False  # whether it waits at a rung, and may go on later
        self._paused = str(info.folder.path / PAUSED)
        self._result, self._metrics = str(info.folder.path / "result.json"), str(info.folder.metrics_path)

    def refresh(self) -> None:
        """Look at the files again."""
        result = stat_file(self._result)  # first: when it exists, all lines of metrics.jsonl do
        metrics = stat_file(self._metrics)
        self.ended = result.st_mtime_ns if result else 0
        self.size, self.written = (metrics.st_size, metrics.st_mtime) if metrics else (0, 0.0)
        self.standing = self.info.is_best(), bool(self.info.on_front())
        self.is_paused = not self.ended and os.path.exists(self._paused)


@dataclass(frozen=True)
class _Position:
    """How far one run was delivered to one tracker."""

    info: RunInfo
    offset: int = 0  # bytes of metrics.jsonl that were delivered
    size: int = 0  # of metrics.jsonl when it was read: a partial line is not read again in every pass
    ended: int = 0  # time of the result that was delivered
    standing: tuple[bool, bool] = (False, False)  # as it was delivered
    is_paused: bool = False  # so that the tracker has closed it


@dataclass(frozen=True)
class _Failure:
    """The error of a run that a tracker did not take, and when it is retried."""

    error: str
    delay: float  # seconds
    retry_at: float  # time.monotonic()


class Delivery:
    """One tracker, its position in every run, and the runs that failed."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._positions: dict[str, _Position] = {}
        self._failures: dict[str, _Failure] = {}
        self._failed_in_a_row = 0
        self._paused_until = 0.0

    def poll(self, runs: Iterable[WatchedRun], *, wait: bool) -> bool:
        """Deliver what is new; True when something was delivered. With `wait` a newest line waits for LINE_DELAY."""
        delivered = False
        for run in runs:
            if time.monotonic() < self._paused_until:
                break
            if self._is_due(run):
                delivered |= self._try(run.info.key, partial(self._deliver, run, wait=wait))
        return delivered

    def close(self) -> None:
        """End open runs as unfinished and close the tracker."""
        for key, position in self._positions.items():
            if not position.ended and not position.is_paused and self._failed_in_a_row < 2:
                self._try(key, partial(self._tracker.finish, position.info, None))
        self._try(CLOSING, self._tracker.close)

    def has_delivered(self, run: WatchedRun) -> bool:
        """Whether the tracker took all that the last pass saw of a run."""
        position = self._positions.get(run.info.key)
        if position is None or (position.size, position.ended, position.standing) != (
            run.size,
            run.ended,
            run.standing,
        ):
            return False
        return position.is_paused or not run.is_paused  # a run that continues stays closed until its next epoch

    def errors(self) -> dict[str, str]:
        """The last error of each run that the tracker did not take, by run key."""
        return {key: failure.error for key, failure in self._failures.items()}

    def _is_due(self, run: WatchedRun) -> bool:
        if self.has_delivered(run):
            return False
        failure = self._failures.get(run.info.key)
        return not failure or time.monotonic() >= failure.retry_at

    def _deliver(self, run: WatchedRun, *, wait: bool) -> None:
        info = run.info
        position = self._positions.pop(info.key, None)  # gone if anything below raises: then all is replayed
        if position is None or position.ended or position.is_paused or run.size < position.offset:
            self._tracker.start(info)
            position = _Position(info)
        lines, offset = read_lines_from(info.folder.metrics_path, position.offset, is_record)
        size = run.size
        if wait and lines and not run.ended and not run.is_paused and time.time() - run.written < LINE_DELAY:
            size = offset = lines.pop()[0]
        result = info.folder.result() if run.ended else None
        for place, (_, line) in enumerate(lines, 1):
            self._tracker.log(info, line, last=result is not None and place == len(lines))
        if run.ended:
            self._tracker.finish(info, result)
        elif run.is_paused:
            self._tracker.finish(info, None)
        self._positions[info.key] = _Position(info, offset, size, run.ended, run.standing, run.is_paused)

    def _try(self, key: str, action: Callable[[], None]) -> bool:
        try:
            action()
        except Exception as error:  # of any library: other trackers and runs continue
            text = f"{type(error).__name__}: {error}"
            delay = min(2 * self._failures[key].delay, MAX_RETRY_SECONDS) if key in self._failures else RETRY_SECONDS
            self._failures[key] = _Failure(text, delay, time.monotonic() + delay)
            self._failed_in_a_row += 1
            if self._failed_in_a_row >= 2:
                self._paused_until = time.monotonic() + PAUSE_SECONDS
            log.warning("%s %s: %s", type(self._tracker).__name__, key, text)
            return False
        self._failures.pop(key, None)
        self._failed_in_a_row = 0
        return True


def stat_file(path: str) -> os.stat_result | None:
    """os.stat, None where the file is missing."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
