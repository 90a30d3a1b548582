"""Follower: tails the records of every run of a sweep and feeds the trackers."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Container, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from hwcls.config.space_parser import RecordedSpace
from hwcls.config.trial import flatten
from hwcls.errors import UserError
from hwcls.reading import read_json, read_or_none, read_yaml
from hwcls.tracking.delivery import Delivery, WatchedRun
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.tracking.left_out import find_left_out
from hwcls.tracking.media import Media
from hwcls.tracking.shapes import DataShape
from hwcls.tracking.tracker import LEFT_OUT_TAG, RunInfo, Tracker

log = logging.getLogger(__name__)

PAUSED_LOOKS = 200  # paused runs that a pass looks at: of thousands each has its turn after some seconds


class Follower:
    """Feeds trackers from the records on disk; may be killed and created again at any moment.

    Args:
        sweep: The folder that is followed.
        trackers: The sinks; each takes the runs at its own pace, and an error of one does not affect the others.
        project: For RunInfo.project.
        media: Computes the media of a finished run.
        artifacts: Whether its best weights are uploaded.
    """

    def __init__(
        self,
        sweep: SweepFolder,
        trackers: list[Tracker],
        project: str,
        media: Callable[[TrialFolder], Media | None] = lambda folder: None,
        *,
        artifacts: bool = False,
    ) -> None:
        self._sweep, self._project, self._media, self._artifacts = sweep, project, media, artifacts
        self._space, self._images = _read_space(sweep), _read_images(sweep)
        self._has_front = _has_several_metrics(sweep)
        self._left_out = find_left_out(sweep.path)  # as it was when tracking began: it changes between starts only
        self._front: set[int] | None = None  # the trials on the Pareto front, by front.json
        self._best: str | None = None  # the run that best/ is a copy of
        self._runs: dict[str, WatchedRun | None] = {}  # None: no readable config
        self._open: list[WatchedRun] = []  # runs that train, or that a tracker has not completely
        self._paused: deque[WatchedRun] = deque()  # delivered runs that wait at a rung
        self._deliveries = [Delivery(tracker) for tracker in trackers]

    def poll(self, *, recheck: bool = True) -> bool:
        """One pass; True when something was delivered, False when nothing is left to do now.

        Errors of a tracker are logged, and the run is retried in a later pass. Without `recheck` runs that were
        delivered to their end are not looked at, so that a pass costs the same however many there are; and the newest
        line of a run is held back a moment, to be delivered together with the run's end if that comes.
        """
        new = self._discover()
        self._best, self._front = self._sweep.best_run(), self._sweep.front() if self._has_front else None
        runs = [run for run in self._runs.values() if run] if recheck else [*self._open, *self._some_paused(), *new]
        for run in runs:
            run.refresh()
        delivered = [delivery.poll(runs, wait=not recheck) for delivery in self._deliveries]
        if recheck:
            self._paused.clear()
        self._open = []
        for run in runs:
            if run.is_paused and self._has_all(run):
                self._paused.append(run)
            elif not (run.ended and self._has_all(run)):
                self._open.append(run)
        return any(delivered)

    def _some_paused(self) -> list[WatchedRun]:
        """The paused runs that have waited longest for a look, PAUSED_LOOKS at most, taken from the queue."""
        return [self._paused.popleft() for _ in range(min(PAUSED_LOOKS, len(self._paused)))]

    @property
    def ended_runs(self) -> int:
        """How many runs had ended at the last pass."""
        return sum(1 for run in self._runs.values() if run and run.ended)

    def undelivered(self) -> dict[str, str]:
        """The last error of each run that a tracker did not take, by run key."""
        return {key: error for delivery in self._deliveries for key, error in delivery.errors().items()}

    def close(self) -> None:
        """End open runs as unfinished and close the trackers."""
        for delivery in self._deliveries:
            delivery.close()

    def _has_all(self, run: WatchedRun) -> bool:
        """Whether each tracker took all that the last look at a run saw."""
        return all(delivery.has_delivered(run) for delivery in self._deliveries)

    def _discover(self) -> list[WatchedRun]:
        """Add runs that are new since the last pass."""
        new = []
        for key in _new_keys(self._sweep.path, self._runs):
            folder = TrialFolder(self._sweep.path / key)
            if not os.path.lexists(folder.path / "config.yaml"):
                continue
            try:
                self._runs[key] = run = WatchedRun(self._describe(key, folder))
                new.append(run)
            except UserError as error:
                log.warning("%s is left out: %s", key, error)
                self._runs[key] = None
        return new

    def _describe(self, key: str, folder: TrialFolder) -> RunInfo:
        settings = folder.settings()
        config, parts = flatten(settings), key.split("/")
        label = parts[1] if parts[0] == "confirm" else self._space.label(settings)
        own = folder.purpose() if parts[0] == "confirm" else {"trial": int(parts[-1])}
        config |= {"sweep": self._sweep.name, **{key: own[key] for key in ("trial", "role") if key in own}}
        config |= {name: value for name, value in self._images.items() if config.get(name) is None}
        left_out = LEFT_OUT_TAG if own.get("trial") in self._left_out else None
        tags = tuple(str(tag) for tag in (label, self._sweep.name, own.get("role"), left_out) if tag)
        weights = folder.path / "best.safetensors" if self._artifacts else None
        media = partial(self._compute_media, key, folder)
        name, project = self._sweep.name, self._project
        return RunInfo(
            *(key, folder, name, project, label, config, tags, media, weights),
            on_front=partial(self._is_on_front, key),
            is_best=lambda: self._best == key and left_out is None,
        )

    def _is_on_front(self, key: str) -> bool | None:
        kind, _, number = key.rpartition("/")
        return int(number) in (self._front or ()) if self._has_front and kind == "trials" else None

    def _compute_media(self, key: str, folder: TrialFolder) -> Media | None:
        """A run's media; when they fail, the run is delivered without them."""
        try:
            return self._media(folder)
        except Exception as error:
            log.warning("%s has no pictures: %s: %s", key, type(error).__name__, error)
            return None


def _new_keys(sweep: Path, known: Container[str]) -> Iterator[str]:
    """The keys of run folders that are not known, in order; listdir only, as this runs in every pass."""
    for parent in ["trials", *(f"confirm/{label}" for label in sorted(_list_names(sweep / "confirm")))]:
        new = [n for n in _list_names(sweep / parent) if n.isdecimal() and f"{parent}/{n}" not in known]
        yield from (f"{parent}/{n}" for n in sorted(map(int, new)))


def _list_names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read_space(sweep: SweepFolder) -> RecordedSpace:
    return RecordedSpace(read_or_none(read_yaml, sweep.path / "sweep.yaml") or {})


def _has_several_metrics(sweep: SweepFolder) -> bool:
    settings = read_or_none(read_yaml, sweep.path / "sweep.yaml") or {}
    metric = settings.get("metric")
    return isinstance(metric, dict) and bool(metric.get("costs"))


def _read_images(sweep: SweepFolder) -> dict[str, Any]:
    """Side and channels of the images, which a config may leave to the data set; empty where there are several."""
    data = read_or_none(read_json, sweep.path / "data.json", DataShape) or {}
    known = {name: data.get(name) for name in ("image_size", "channels")}
    return {} if "others" in data or None in known.values() else known
