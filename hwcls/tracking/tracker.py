"""Trackers: sinks that follow the records of a sweep's runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from pydantic import ValidationError

from hwcls.config.sweep import TRACKERS, TrackerSettings
from hwcls.reading import read_or_none, read_yaml
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.tracking.media import Media
from hwcls.tracking.records import Result

Settings = TypeVar("Settings", bound=TrackerSettings)

LEFT_OUT_TAG = "left out"  # of the runs of trials that do not count


@dataclass(frozen=True)
class RunInfo:
    """One trial or confirm run, as every tracker shows it."""

    key: str  # the folder's path in the sweep's: "trials/7", "confirm/resnet/1007001"
    folder: TrialFolder
    sweep: str
    project: str
    label: str | None  # of the alternative that `compare` names
    config: dict[str, Any]  # TrialConfig.flat() with "sweep" and "trial", of a confirm run also "role"
    tags: tuple[str, ...] = ()
    media: Callable[[], Media | None] = lambda: None  # computed by the call, which takes a moment
    weights: Path | None = None  # the file to upload as an artifact; None: no upload
    # whether it is on the Pareto front, as the sweep last ended; None with one metric, and for confirm runs
    on_front: Callable[[], bool | None] = lambda: None
    is_best: Callable[[], bool] = lambda: False  # whether the sweep's best/ is a copy of its weights

    @property
    def name(self) -> str:
        """`resnet-7` or `trial-7`."""
        return f"{self.label or 'trial'}-{self.key.rsplit('/', 1)[-1]}"

    @property
    def kind(self) -> str:
        """`trial` or `confirm`."""
        return self.key.split("/", 1)[0].removesuffix("s")


@dataclass(frozen=True)
class Axis:
    """A searched setting, by its flat name."""

    name: str
    log: bool = False


@dataclass(frozen=True)
class SweepSummary:
    """What a sweep has found when a start of it ends."""

    sweep: str
    project: str
    metric: str
    goal: str  # maximize or minimize
    settings: Sequence[Axis]
    answer: str  # a few sentences
    alternatives: Sequence[Mapping[str, Any]] = ()  # a table's rows, the best first; texts and numbers
    page: Path | None = None  # report.html


@dataclass(frozen=True)
class Alert:
    """A message to the people who follow a sweep."""

    title: str
    text: str
    level: Literal["INFO", "WARN", "ERROR"]


class Tracker(Protocol):
    """One sink. After every `start` all of the run's lines follow, from the first: a restart is a replay.

    The tracker skips or replaces what the sink already holds, so that each epoch is there exactly once in the end.
    Any method may raise; the run is then started again later.
    """

    problem: str | None  # why it does less than requested, such as W&B offline without credentials

    def start(self, run: RunInfo) -> None:
        """Open `run`: the first time, after an error, in a new process, or when its records, `is_best` or `on_front`
        changed.
        """

    def log(self, run: RunInfo, line: dict[str, Any], *, last: bool = False) -> None:
        """Take one line of metrics.jsonl; a line without "epoch" (test/...) describes the run as a whole.

        After the `last` one comes `finish`.
        """

    def finish(self, run: RunInfo, result: Result | None) -> None:
        """The run ended; with None it is unfinished and may be started again."""

    def close(self) -> None:
        """Release everything; runs without `finish` count as unfinished."""


@runtime_checkable
class ShowsSweeps(Protocol):
    """A tracker that also shows a sweep as a whole."""

    def conclude(self, summary: SweepSummary, alert: Alert | None = None) -> list[str]:
        """Take what the sweep has found when its runs are delivered, and send the alert.

        Returns:
            What failed, a line each: that never fails the sweep, and a later start or sync does it again.
        """


def serving_order(names: Sequence[str]) -> list[str]:
    """Each name once, trackers that wait for a server last: a slow server then holds up no other tracker."""
    known = TRACKERS.names()
    return sorted(dict.fromkeys(names), key=lambda name: name in known and TRACKERS[name].waits_for_server)


def numeric_values(line: dict[str, Any]) -> dict[str, float]:
    """The numbers of a line without its epoch; null (NaN or infinite) is left out, as no sink can draw it."""
    return {
        key: value
        for key, value in line.items()
        if key != "epoch" and isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def read_tracker_settings(sweep: SweepFolder, name: str, kind: type[Settings]) -> Settings:
    """The settings of a tracker in a sweep's folder; the defaults where it has none, or where they are damaged."""
    recorded = read_or_none(read_yaml, sweep.path / "sweep.yaml") or {}
    trackers = recorded.get("trackers")
    own = trackers.get(name) if isinstance(trackers, dict) else None
    try:
        return kind.model_validate(own or {})
    except ValidationError:
        return kind()
