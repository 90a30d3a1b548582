"""The folders of a sweep and of a trial on disk: metrics.jsonl is the truth, all else follows it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hwcls import files
from hwcls.config.trial import TrialConfig, use_copied_source
from hwcls.errors import UserError
from hwcls.escape import printable
from hwcls.reading import read_file, read_json, read_or_none, read_yaml
from hwcls.tracking.json_lines import read_backwards, read_lines
from hwcls.tracking.records import Result
from hwcls.tracking.shapes import BestShape, PausedShape, PurposeShape, ResultShape, Scalar, is_record

PAUSED = "paused.json"  # in a trial's folder while it waits at a rung: its last epoch, and its result if it ended now
COST = "cost.json"  # in a trial's folder while it trains and its cost is searched for: as `cost` in result.json
PURPOSE = "confirm.json"  # in a confirm run's folder: {"trial": 3, "role": "pick"}
LOOKS = "looks.jsonl"  # in a sweep's folder: a line for each verdict on test, with the number of seeds that it had
BEST, ABOUT = "best", "best.json"  # a sweep's folder with a copy of its best weights; what it is a copy of
ENSEMBLE, MEMBERS = "ensemble", "ensemble.json"  # a sweep's folder with models that are averaged; which they are
FRONT = "front.json"  # in a sweep's folder with several metrics: the numbers of the trials on its Pareto front
TEST_READS = "test_reads.jsonl"  # in a sweep's folder: a line for each evaluation on test by `hwcls evaluate`


class TrialFolder:
    """One trial's folder: config.yaml, metrics.jsonl, result.json and the outputs of the workers."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    def config(self) -> TrialConfig:
        """The trial's config; raises UserError when it is missing, broken or of another version."""
        try:
            return TrialConfig.from_recorded(use_copied_source(self.settings(), self.path))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            what = f"is not of this version ({'.'.join(map(str, first['loc']))}: {first['msg']})"
            raise UserError(what, where=str(self.path / "config.yaml")) from None

    def settings(self) -> dict[str, Any]:
        """config.yaml as plain values, readable even when a later version renamed a key; raises UserError."""
        try:
            values: dict[str, Any] = read_yaml(self.path / "config.yaml")
        except FileNotFoundError:
            raise UserError("has no config.yaml", where=str(self.path)) from None
        return values

    def write_config(self, config: TrialConfig) -> None:
        files.write_yaml(self.path / "config.yaml", config.to_dict())

    def write_purpose(self, purpose: Mapping[str, Any]) -> None:
        """Of a confirm run: the trial that it repeats and its role, known before it has a result."""
        files.write_json(self.path / PURPOSE, dict(purpose))

    def purpose(self) -> dict[str, Any]:
        """What `write_purpose` wrote; empty for a trial, and for confirm runs of versions that wrote none."""
        return read_or_none(read_json, self.path / PURPOSE, PurposeShape) or {}

    def origin(self) -> dict[str, Any] | None:
        """Of a sweep's best/ the run that it is a copy of, and why; None elsewhere. Raises DamagedFile."""
        try:
            values: dict[str, Any] = read_json(self.path / ABOUT, BestShape)
        except FileNotFoundError:
            return None
        return values

    def records(self) -> list[dict[str, Any]]:
        """All lines of metrics.jsonl; a partial last one is left out."""
        return list(read_lines(self.metrics_path, is_record))

    def last_epoch(self) -> int:
        """The last epoch on record, 0 when there is none; reads the end of the file only."""
        lines = read_backwards(self.metrics_path, fits=is_record)
        return next((line["epoch"] for line in lines if "epoch" in line), 0)

    def append(self, line: Mapping[str, Any]) -> None:
        """Append one line and fsync it; a partial line that a crash left is removed first."""
        files.append_line(self.metrics_path, json.dumps(dict(line), allow_nan=False).encode())

    def replace_records(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Replace all lines by these, atomically."""
        text = "".join(json.dumps(dict(line), allow_nan=False) + "\n" for line in lines)
        files.write_text(self.metrics_path, text)

    def append_missing(self, lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Append those epochs that are not on record yet, in order; returns the appended lines."""
        last = self.last_epoch()
        new = [dict(line) for line in lines if line["epoch"] > last]
        for line in new:
            self.append(line)
        return new

    def result(self) -> Result | None:
        """The trial's result, None while it has not ended, or if the file was damaged."""
        values = read_or_none(read_json, self.path / "result.json", ResultShape)
        return None if values is None else Result.from_dict(values)

    def write_result(self, result: Result) -> None:
        files.write_json(self.path / "result.json", result.to_dict())

    def pause(self, result: Result) -> None:
        """The trial waits at a rung; `result` is what it ends with if it does not go on. One checkpoint is kept."""
        for path in self.checkpoints()[1:]:
            shutil.rmtree(path, ignore_errors=True)
        files.write_json(self.path / PAUSED, {"epoch": self.last_epoch(), "result": result.to_dict()})

    def paused(self) -> Result | None:
        """What `pause` was given; None where the trial has gone on since, or never paused."""
        values = read_or_none(read_json, self.path / PAUSED, PausedShape)
        if values is None or values["epoch"] != self.last_epoch():
            return None
        return Result.from_dict(values["result"])

    def resume(self) -> None:
        """The trial does not wait any more."""
        (self.path / PAUSED).unlink(missing_ok=True)

    def write_cost(self, cost: Mapping[str, Any]) -> None:
        """What the model costs, before the trial has a result: a crash may come before it."""
        files.write_json(self.path / COST, dict(cost))

    def cost(self) -> dict[str, Any]:
        """What `write_cost` wrote while the trial trains; else empty."""
        return read_or_none(read_json, self.path / COST, dict[str, Scalar]) or {}

    def checkpoints(self) -> list[str]:
        """The checkpoints that the trial can resume from, the newest first.

        Those outside of the sweep's folder are left out: results from elsewhere may name any, and old ones are deleted.
        """
        found = read_or_none(read_json, self.path / "checkpoint.json", list[str])
        if not found:
            return []
        above = self.path.resolve().parents[1:3]  # of a trial, and of a confirm run
        sweep = next((folder for folder in above if (folder / "sweep.yaml").exists()), above[0])
        paths = [self.path / path for path in found]
        return [str(path) for path in paths if path.is_dir() and sweep in path.resolve().parents]

    def add_checkpoint(self, path: str) -> list[str]:
        """Register a checkpoint and keep the one before it; older ones are deleted. Returns those that are kept."""
        old = [known for known in self.checkpoints() if Path(known).resolve() != Path(path).resolve()]
        kept = [path, *old[:1]]
        relative = [os.path.relpath(known, self.path) for known in kept]  # the sweep's folder may be moved
        files.write_json(self.path / "checkpoint.json", relative)
        for gone in old[1:]:
            shutil.rmtree(gone, ignore_errors=True)
        return kept

    def delete_checkpoints(self) -> None:
        """Delete the checkpoints of a trial that has ended."""
        for path in self.checkpoints():
            shutil.rmtree(path, ignore_errors=True)
        self.resume()
        for name in ("checkpoint.json", COST):
            (self.path / name).unlink(missing_ok=True)

    def request_stop(self) -> None:
        """Ask for the trial to be stopped after its current epoch, as by the Stop button of a dashboard."""
        files.write_text(self.path / "stop", "")

    def stop_requested(self) -> bool:
        """Whether a user asked for the trial to be stopped."""
        return (self.path / "stop").exists()

    def write_error(self, text: str) -> None:
        files.write_text(self.path / "error.txt", printable(text, "\n\t"))


class SweepFolder:
    """One sweep's folder: sweep.yaml, trials/<n>/ and confirm/<label>/<seed>/."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        return os.path.basename(os.path.abspath(self.path))  # also of "."

    @property
    def best(self) -> TrialFolder:
        """The copy of the best weights, which may not be there."""
        return TrialFolder(self.path / BEST)

    @property
    def front_path(self) -> Path:
        return self.path / FRONT

    def front(self) -> set[int] | None:
        """The trials on the Pareto front when the sweep last ended; None with one metric, or before."""
        found = read_or_none(read_json, self.front_path, list[int])
        return None if found is None else set(found)

    def best_run(self) -> str | None:
        """The key of the run that best/ is a copy of; None without one, also where its best.json is damaged."""
        origin = read_or_none(read_json, self.best.path / ABOUT, BestShape)
        return str(origin["run"]) if origin else None

    def trial(self, number: int) -> TrialFolder:
        return TrialFolder(self.path / "trials" / str(number))

    def trials(self) -> dict[int, TrialFolder]:
        """Every trial that has a config, by number, in order."""
        root = self.path / "trials"
        try:
            names = os.listdir(root)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return {}
        numbers = [int(name) for name in names if _is_run(root, name)]
        return {number: self.trial(number) for number in sorted(numbers)}

    def saved_in(self, name: str) -> str:
        """The folder of the checkpoints of the run `name`, while the sweep runs."""
        return str((self.path / "tune" / name).resolve())

    def count_test_reads(self) -> int:
        """How often `hwcls evaluate --split test` evaluated a trial of this sweep; confirm runs are not counted.

        Each line counts, damaged ones too.
        """
        return len(read_or_none(read_file, self.path / TEST_READS, bytes.splitlines) or [])

    def looks(self) -> list[dict[str, int]]:
        """The seeds of each alternative, with several metrics of each trial, at every verdict on test, in order."""
        found = [line.get("seeds") for line in read_lines(self.path / LOOKS)]
        return [one for one in found if one and isinstance(one, dict) and all(type(n) is int for n in one.values())]

    def has_look(self, seeds: Mapping[str, int], winners: Mapping[str, int]) -> bool:
        """Whether this verdict is on record; without trials, as of earlier versions, only the last one can be it."""
        lines = list(read_lines(self.path / LOOKS))
        wanted, last = (dict(seeds), dict(winners)), lines[-1] if lines else {}
        known = [(line.get("seeds"), line.get("trials")) for line in lines]
        return wanted in known or (last.get("seeds") == wanted[0] and not isinstance(last.get("trials"), dict))

    def add_look(self, seeds: Mapping[str, int], winners: Mapping[str, int]) -> None:
        """Record a verdict on test: how many seeds of each that is compared, and of which trial they are."""
        files.append_line(self.path / LOOKS, json.dumps({"seeds": dict(seeds), "trials": dict(winners)}).encode())

    def confirm_run(self, label: str, seed: int) -> TrialFolder:
        return TrialFolder(self.path / "confirm" / label / str(seed))

    def confirm_runs(self) -> dict[tuple[str, int], TrialFolder]:
        """Every confirm run that has a config, by (label, seed), in order."""
        paths = [path for path in self.path.glob("confirm/*/*") if _is_run(path.parent, path.name)]
        return {
            (p.parent.name, int(p.name)): TrialFolder(p)
            for p in sorted(paths, key=lambda p: (p.parent.name, int(p.name)))
        }


def _is_run(parent: Path, name: str) -> bool:
    """Whether a folder is that of a trial or confirm run, even if the link that is its config leads nowhere."""
    return name.isdecimal() and os.path.lexists(os.path.join(parent, name, "config.yaml"))


def is_in_use(path: Path) -> bool:
    """Whether a driver works in a results folder now; nothing is written, and no driver is kept from its start."""
    try:
        with open(path / ".lock", "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
