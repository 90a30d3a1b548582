"""The follower: tails the records of every run of a sweep and feeds the trackers."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import yaml

from hwcls import files
from hwcls.config.space import label_text
from hwcls.config.trial import flat_name, flatten
from hwcls.errors import UserError, did_you_mean
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.tracking.tracker import Media, RunInfo, Tracker, note

RETRY, RETRY_MOST = 10.0, 600.0  # seconds before a refused run is tried again: doubled each time
KNOWN = ("wandb", "tensorboard")  # what `track:` may name
SETTLED = 2.0  # seconds after which a run's newest line is delivered without waiting for what may follow it
PAUSE = 5.0  # seconds that a tracker is left alone after two refusals in a row: its server may be down


def open_trackers(
    names: Sequence[str], sweep: SweepFolder, project: str, mode: Literal["online", "offline", "off", "auto"]
) -> list[Tracker]:
    """The trackers that `track:` names; `mode` is of W&B alone.

    With `auto` W&B is online where credentials are there and good and offline otherwise: tracking.log says which
    and why. It never asks, and a server that is down holds it up for some ten seconds at most.

    Raises:
        UserError: an unknown name, `online` without good credentials, a package that is not installed.
    """
    trackers: list[Tracker] = []
    for name in by_patience(names):
        if name == "wandb":
            from hwcls.tracking.wandb.tracker import open_wandb

            trackers += open_wandb(sweep, mode)
        elif name == "tensorboard":
            from hwcls.tracking.tensorboard import TensorBoardTracker

            trackers.append(TensorBoardTracker(sweep))
        else:
            raise UserError(f"unknown tracker '{name}'", where="track", remedy=did_you_mean(name, KNOWN))
    return trackers


def by_patience(names: Sequence[str]) -> list[str]:
    """Each name once, those first that wait for no server: a slow one keeps nothing from the others."""
    return sorted(dict.fromkeys(names), key=lambda name: name == "wandb")


class Follower:
    """Feeds trackers from the records on disk; may be killed and made anew at any moment.

    Args:
        sweep: The folder that is followed.
        trackers: The sinks; each takes the runs at its own pace, and none suffers from another's errors.
        project: What RunInfo.project says.
        media: Makes what a run shows at its end.
        artifacts: Whether its best weights are sent.
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
        self._compare = _compare(sweep)
        self._runs: dict[str, _Watched | None] = {}  # None: no readable config
        self._open: list[_Watched] = []  # runs that have not ended, or that a tracker has not got whole
        self._feeds = [_Feed(sweep, tracker) for tracker in trackers]

    def poll(self, *, again: bool = True) -> bool:
        """One pass; True when something was delivered, False when there is nothing to do now.

        What a tracker refuses is noted in tracking.log and tried again in a later pass. Without `again` no file is
        looked at of runs that had ended and were delivered: what it costs does not grow with them; and the newest
        line of a run waits a moment, so that the run's end, if it comes with it, is delivered with it.
        """
        new = self._discover()
        runs = [run for run in self._runs.values() if run] if again else self._open + new
        for run in runs:
            run.look()
        delivered = [feed.poll(runs, wait=not again) for feed in self._feeds]
        self._open = [run for run in runs if not run.ended or not all(feed.has(run) for feed in self._feeds)]
        return any(delivered)

    @property
    def ended(self) -> int:
        """How many runs had ended at the last pass."""
        return sum(1 for run in self._runs.values() if run and run.ended)

    def behind(self) -> dict[str, str]:
        """The last error of each run that a tracker refused and has not taken since."""
        return {key: refusal.error for feed in self._feeds for key, refusal in feed.refused.items()}

    def close(self) -> None:
        """End the open runs as unfinished and close the trackers."""
        for feed in self._feeds:
            feed.close()

    def _discover(self) -> list[_Watched]:
        """Take up runs that were not there before."""
        new = []
        for key in _keys(self._sweep.path, self._runs):
            folder = TrialFolder(self._sweep.path / key)
            if not (folder.path / "config.yaml").exists():
                continue
            try:
                self._runs[key] = run = _Watched(self._info(key, folder))
                new.append(run)
            except UserError as error:
                note(self._sweep, f"{key} is left out: {error}")
                self._runs[key] = None
        return new

    def _info(self, key: str, folder: TrialFolder) -> RunInfo:
        config = flatten(folder.settings())
        parts = key.split("/")
        label = parts[1] if parts[0] == "confirm" else self._label(config)
        config |= {"sweep": self._sweep.name} | ({} if parts[0] == "confirm" else {"trial": int(parts[-1])})
        tags = tuple(tag for tag in (label, self._sweep.name) if tag)
        weights = folder.path / "best.safetensors" if self._artifacts else None
        media = partial(self._shown, key, folder)
        return RunInfo(key, folder, self._sweep.name, self._project, label, config, tags, media, weights)

    def _shown(self, key: str, folder: TrialFolder) -> Media | None:
        """A run's media; what cannot be shown is noted, and no reason to refuse the run."""
        try:
            return self._media(folder)
        except Exception as error:
            note(self._sweep, f"{key} has no pictures: {type(error).__name__}: {error}")
            return None

    def _label(self, config: dict[str, Any]) -> str | None:
        """The label of the alternative that the sweep's `compare` names, by the trial's flat config."""
        if self._compare is None:
            return None
        label = config.get(flat_name((*self._compare.removeprefix("parameters.").split("."), "label")))
        return None if label is None else label_text(label)


class _Watched:
    """A run and what its files looked like in this pass."""

    def __init__(self, info: RunInfo) -> None:
        self.info = info
        self.size = 0  # bytes of metrics.jsonl
        self.written = 0.0  # when, in seconds of time.time()
        self.ended = 0  # when result.json was written, in ns; 0 while it is not there
        self._result, self._metrics = str(info.folder.path / "result.json"), str(info.folder.metrics_path)

    def look(self) -> None:
        result = _stat(self._result)  # first: all lines stand before it
        metrics = _stat(self._metrics)
        self.ended = result.st_mtime_ns if result else 0
        self.size, self.written = (metrics.st_size, metrics.st_mtime) if metrics else (0, 0.0)


@dataclass(frozen=True)
class _Position:
    """How far one tracker is with one run."""

    info: RunInfo
    offset: int = 0  # bytes of metrics.jsonl that were delivered
    size: int = 0  # of metrics.jsonl when it was read: a torn line is not read again in every pass
    ended: int = 0  # the result that was delivered


@dataclass(frozen=True)
class _Refusal:
    """Why a tracker did not take a run, and when it is asked again."""

    error: str
    delay: float  # seconds
    again: float  # time.monotonic()


class _Feed:
    """One tracker, its position in every run, and the runs that it refused."""

    def __init__(self, sweep: SweepFolder, tracker: Tracker) -> None:
        self._sweep, self._tracker = sweep, tracker
        self._positions: dict[str, _Position] = {}
        self._in_a_row = 0  # refusals since something was taken
        self._paused_until = 0.0
        self.refused: dict[str, _Refusal] = {}

    def poll(self, runs: Iterable[_Watched], *, wait: bool) -> bool:
        delivered = False
        for run in runs:
            if time.monotonic() < self._paused_until:
                break
            if self._is_due(run):
                delivered |= self._try(run.info.key, partial(self._deliver, run, wait=wait))
        return delivered

    def close(self) -> None:
        for key, position in self._positions.items():
            if not position.ended and self._in_a_row < 2:
                self._try(key, partial(self._tracker.finish, position.info, None))
        self._try("close", self._tracker.close)

    def has(self, run: _Watched) -> bool:
        """Whether the tracker took all that the last look at a run saw."""
        position = self._positions.get(run.info.key)
        return position is not None and (position.size, position.ended) == (run.size, run.ended)

    def _is_due(self, run: _Watched) -> bool:
        if self.has(run):
            return False
        refusal = self.refused.get(run.info.key)
        return not refusal or time.monotonic() >= refusal.again

    def _deliver(self, run: _Watched, *, wait: bool) -> None:
        info = run.info
        position = self._positions.pop(info.key, None)  # gone if anything below raises: then all is replayed
        if position is None or position.ended or run.size < position.offset:
            self._tracker.start(info)
            position = _Position(info)
        lines, offset = _lines(info.folder.metrics_path, position.offset)
        size = run.size
        if wait and lines and not run.ended and time.time() - run.written < SETTLED:
            size = offset = lines.pop()[0]
        result = info.folder.result() if run.ended else None
        for place, (_, line) in enumerate(lines, 1):
            self._tracker.log(info, line, last=result is not None and place == len(lines))
        if run.ended:
            self._tracker.finish(info, result)
        self._positions[info.key] = _Position(info, offset, size, run.ended)

    def _try(self, key: str, action: Callable[[], None]) -> bool:
        try:
            action()
        except Exception as error:  # a third party's, of any kind: the other trackers and runs go on
            text = f"{type(error).__name__}: {error}"
            delay = min(2 * self.refused[key].delay, RETRY_MOST) if key in self.refused else RETRY
            self.refused[key] = _Refusal(text, delay, time.monotonic() + delay)
            self._in_a_row += 1
            if self._in_a_row >= 2:
                self._paused_until = time.monotonic() + PAUSE
            note(self._sweep, f"{type(self._tracker).__name__} {key}: {text}")
            return False
        self.refused.pop(key, None)
        self._in_a_row = 0
        return True


def _keys(sweep: Path, known: Container[str]) -> Iterator[str]:
    """The keys of the run folders that are not known, in order; listdir alone, as this runs in every pass."""
    for parent in ["trials", *(f"confirm/{label}" for label in sorted(_names(sweep / "confirm")))]:
        new = [n for n in _names(sweep / parent) if n.isdecimal() and f"{parent}/{n}" not in known]
        yield from (f"{parent}/{n}" for n in sorted(map(int, new)))


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _compare(sweep: SweepFolder) -> str | None:
    """What the sweep file compares."""
    try:
        compare = files.read_yaml(sweep.path / "sweep.yaml")["compare"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return None
    return None if compare is None else str(compare)


def _lines(path: Path, offset: int) -> tuple[list[tuple[int, dict[str, Any]]], int]:
    """The whole lines from a byte offset on, each with its own, and the offset after them all.

    A line that is no object is left out.
    """
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            content = file.read()
    except FileNotFoundError:
        return [], offset
    lines = []
    for text in content.split(b"\n")[:-1]:
        with contextlib.suppress(ValueError):
            value = json.loads(text)
            if isinstance(value, dict):
                lines.append((offset, value))
        offset += len(text) + 1
    return lines, offset


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
