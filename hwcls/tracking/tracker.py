"""What a tracker is: one sink that follows the records, and its note of what it has delivered."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from hwcls import files
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.tracking.json_lines import read_lines
from hwcls.tracking.records import Result

TROUBLES = "tracking.json"


@dataclass(frozen=True, eq=False)
class Histogram:
    """How the weights or the gradients of a layer are distributed after an epoch."""

    name: str  # weights/features.0
    epoch: int
    edges: NDArray[Any]  # (B + 1,)
    counts: NDArray[Any]  # (B,)


@dataclass(frozen=True, eq=False)
class Media:
    """What a run shows at its end beside numbers, of N validation images in K classes at its best epoch."""

    classes: tuple[str, ...]  # K
    labels: NDArray[Any]  # (N,) true classes
    predicted: NDArray[Any]  # (N,)
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]  # K of them, under `columns`; NaN for what a class does not have
    pictures: dict[str, NDArray[Any]]  # by name: (H, W, 3) uint8
    histograms: tuple[Histogram, ...]


@dataclass(frozen=True)
class RunInfo:
    """One trial or confirm run, as every tracker shows it."""

    key: str  # the folder's path in the sweep's: "trials/7", "confirm/resnet/1007001"
    folder: TrialFolder
    sweep: str
    project: str
    label: str | None  # of the alternative that `compare` names
    config: dict[str, Any]  # TrialConfig.flat() with "sweep" and "trial"
    tags: tuple[str, ...] = ()
    media: Callable[[], Media | None] = lambda: None  # made when it is called, which takes a moment
    weights: Path | None = None  # the file to send as an artifact, where that is wished

    @property
    def name(self) -> str:
        """`resnet-7` or `trial-7`."""
        return f"{self.label or 'trial'}-{self.key.rsplit('/', 1)[-1]}"

    @property
    def kind(self) -> str:
        """`trial` or `confirm`."""
        return self.key.split("/", 1)[0].removesuffix("s")


class Tracker(Protocol):
    """One sink. Every `start` is followed by all of the run's lines from the first: a restart is a replay.

    What the sink holds already, the tracker leaves out or removes: in the end each epoch is there exactly once.
    Any method may raise; the run is then started again, later.
    """

    problem: str | None  # why it is not what was wished for, as W&B offline for want of credentials

    def start(self, run: RunInfo) -> None:
        """Open `run`, also a second time: after an error, in a new process, or when its records grew."""

    def log(self, run: RunInfo, line: dict[str, Any], *, last: bool = False) -> None:
        """Take one line of metrics.jsonl; one without "epoch" (test/...) is a fact of the whole run.

        After the `last` one comes `finish`.
        """

    def finish(self, run: RunInfo, result: Result | None) -> None:
        """The run ended, or with None: it was left unfinished and may be started again."""

    def close(self) -> None:
        """Let go of everything; runs without `finish` count as unfinished."""


class Cursor:
    """What one tracker has delivered, by run key: a lines file that grows, each line the change of one run's entry.

    `identity`, the first line, is drawn once per sweep folder, so that a new sweep of the same name gets other run
    ids. A broken file is as good as none: all runs are delivered again, under a new identity.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._runs: dict[str, dict[str, Any]] = {}
        first, *changes = list(read_lines(path)) or [{}]
        if "identity" not in first:
            first, changes = {"identity": secrets.token_hex(8)}, []
            files.write_text(path, json.dumps(first) + "\n")
        self.identity = str(first["identity"])
        for change in changes:
            self._runs[change["run"]] = self.get(change["run"]) | change["entry"]

    def get(self, key: str) -> dict[str, Any]:
        """The entry of a run, {} when it was never started."""
        return dict(self._runs.get(key, {}))

    def put(self, key: str, **entry: Any) -> None:
        """Change some values of a run's entry."""
        self._runs[key] = self.get(key) | entry
        files.append_line(self._path, json.dumps({"run": key, "entry": entry}).encode())

    def settled(self, run: RunInfo) -> bool:
        """Whether all that stands in the run's folder was delivered, its end included."""
        entry, result = self.get(run.key), run.folder.result()
        if result is None or entry.get("status") != result.status:
            return False
        return bool(entry.get("lines") == len(run.folder.records()))


def addresses(sweep: SweepFolder) -> dict[str, str]:
    """Where W&B shows each run, by run key; a run that was never online has none."""
    changes = read_lines(sweep.path / "wandb" / "cursor.jsonl")
    entries = [(change.get("run"), change.get("entry")) for change in changes]
    urls = {str(run): str(entry["url"]) for run, entry in entries if isinstance(entry, dict) and entry.get("url")}
    return {run: url for run, url in urls.items() if url.startswith(("https://", "http://"))}


def write_troubles(sweep: SweepFolder, said: list[str]) -> None:
    """Remember what the user should know of the trackers, in place of what was known before."""
    files.write_json(sweep.path / TROUBLES, said)


def troubles(sweep: SweepFolder) -> list[str]:
    """What `write_troubles` wrote last."""
    try:
        said = json.loads((sweep.path / TROUBLES).read_text("utf-8"))
    except (OSError, ValueError):
        return []
    return [str(line) for line in said] if isinstance(said, list) else []


def note(sweep: SweepFolder, text: str) -> None:
    """Add one line with the time to the sweep's tracking.log."""
    sweep.path.mkdir(parents=True, exist_ok=True)
    with open(sweep.path / "tracking.log", "a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(text.split())}\n")


def numbers(line: dict[str, Any]) -> dict[str, float]:
    """The line's numbers but its epoch; null (not finite) is left out, as no sink can draw it."""
    return {
        key: value
        for key, value in line.items()
        if key != "epoch" and isinstance(value, (int, float)) and not isinstance(value, bool)
    }
