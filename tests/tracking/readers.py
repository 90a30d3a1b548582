"""What trackers wrote, read back: by a reader here, or by the tracker's own `read_rows`."""

from __future__ import annotations

import ast
import functools
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from hwcls.config.sweep import TRACKERS
from hwcls.tracking.cursor import Cursor
from hwcls.tracking.folders import SweepFolder


class Reader:
    """Rows by epoch, through `read_rows(sweep, key)` of the registered class."""

    def __init__(self, name: str) -> None:
        self.name = name

    def rows(self, sweep: SweepFolder, key: str) -> list[dict[str, Any]]:
        read = getattr(TRACKERS[self.name], "read_rows", None)
        assert read, f"the tracker '{self.name}' needs read_rows(sweep, key): see docs/how-to/extend/tracker.md"
        return read(sweep, key)


class TensorBoardReader(Reader):
    """Reads event files without TensorBoard: length, checksum, protobuf, checksum."""

    def rows(self, sweep: SweepFolder, key: str) -> list[dict[str, Any]]:
        rows: dict[int, dict[str, Any]] = {}
        for step, tag, value in self._scalars(sweep, key):
            if not tag.startswith(("best/", "test/")):
                row = rows.setdefault(step, {"epoch": step})
                assert tag not in row, f"{tag} twice in epoch {step}"
                row[tag] = value
        return list(rows.values())

    def summary(self, sweep: SweepFolder, key: str) -> dict[str, Any]:
        named = {tag: value for _, tag, value in self._scalars(sweep, key) if tag.startswith(("best/", "test/"))}
        return named | {name: value for name, value in self.config(sweep, key).items() if name == "status"}

    def config(self, sweep: SweepFolder, key: str) -> dict[str, Any]:
        from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

        for event in self._events(sweep, key):
            for value in event.summary.value:
                if value.tag == "_hparams_/session_start_info":
                    found = HParamsPluginData.FromString(value.metadata.plugin_data.content).session_start_info.hparams
                    return {name: getattr(item, item.WhichOneof("kind")) for name, item in found.items()}
        return {}

    def _scalars(self, sweep: SweepFolder, key: str) -> list[tuple[int, str, float]]:
        events = self._events(sweep, key)
        return [
            (event.step, value.tag, value.simple_value)
            for event in events
            for value in event.summary.value
            if value.WhichOneof("value") == "simple_value"
        ]

    def _events(self, sweep: SweepFolder, key: str) -> list[Any]:
        from tensorboardX.proto.event_pb2 import Event

        (path,) = (sweep.path / "tensorboard" / key).glob("events.*")
        content, events = path.read_bytes(), []
        while content:
            (size,) = struct.unpack("<Q", content[:8])
            events.append(Event.FromString(content[12 : 12 + size]))
            content = content[16 + size :]
        return events


@functools.cache  # a call takes seconds
def inspect(path: Path, written: int) -> list[dict[str, Any]]:
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in output.splitlines()]


class WandbReader(Reader):
    """Reads offline runs as users can: `wandb leet inspect`."""

    def rows(self, sweep: SweepFolder, key: str) -> list[dict[str, Any]]:
        items = [record["history"]["item"] for record in self.records(sweep, key) if record["type"] == "history"]
        return [{name: value for name, value in item.items() if not name.startswith("_")} for item in items]

    def summary(self, sweep: SweepFolder, key: str) -> dict[str, Any]:
        updates: dict[str, Any] = {}
        for record in self.records(sweep, key):
            if record["type"] == "summary":
                updates |= record["summary"]["update"]
        return {
            name: value for name, value in updates.items() if name.startswith(("best/", "test/", "status", "weights"))
        }

    def config(self, sweep: SweepFolder, key: str) -> dict[str, Any]:
        update = self.run(sweep, key)["config"]["update"]
        return {name: value for name, value in update.items() if not name.startswith("_")}

    def run(self, sweep: SweepFolder, key: str) -> dict[str, Any]:
        return next(record["run"] for record in self.records(sweep, key) if record["type"] == "run")

    def records(self, sweep: SweepFolder, key: str) -> list[dict[str, Any]]:
        run_id = Cursor(sweep.path / "wandb" / "cursor.jsonl").get(key)["id"]
        (path,) = (sweep.path / "wandb").glob(f"*-{run_id}*/*.wandb")  # one folder: nothing is there twice
        return inspect(path, path.stat().st_mtime_ns)


class MlflowReader(Reader):
    """Asks the store, as MlflowClient does."""

    def rows(self, sweep: SweepFolder, key: str) -> list[dict[str, Any]]:
        client, run_id = self._open(sweep, key)
        rows: dict[int, dict[str, Any]] = {}
        for name in client.get_run(run_id).data.metrics:
            for point in client.get_metric_history(run_id, name):
                if not name.startswith(("best/", "test/")):
                    row = rows.setdefault(point.step, {"epoch": point.step})
                    assert name not in row, f"{name} twice in epoch {point.step}"
                    row[name] = point.value
        return [rows[step] for step in sorted(rows)]

    def summary(self, sweep: SweepFolder, key: str) -> dict[str, Any]:
        client, run_id = self._open(sweep, key)
        data = client.get_run(run_id).data
        named = {name: value for name, value in data.metrics.items() if name.startswith(("best/", "test/"))}
        return named | {"status": data.tags["state"]}

    def config(self, sweep: SweepFolder, key: str) -> dict[str, Any]:
        client, run_id = self._open(sweep, key)
        return {name: _parse_param(text) for name, text in client.get_run(run_id).data.params.items()}

    def _open(self, sweep: SweepFolder, key: str) -> tuple[Any, str]:
        from hwcls.tracking.mlflow.place import find_place
        from hwcls.tracking.mlflow.store import Store

        place = find_place(sweep)
        return Store(place, sweep.name).client, Cursor(place.cursor).get(key)["id"]


def _parse_param(text: str) -> Any:
    """The value of a param, all of which are texts."""
    try:
        return {"true": True, "false": False}[text] if text in ("true", "false") else ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


READERS: dict[str, type[Reader]] = {"tensorboard": TensorBoardReader, "wandb": WandbReader, "mlflow": MlflowReader}


def reader_of(name: str) -> Reader:
    """The reader of a tracker of the registry."""
    return READERS.get(name, Reader)(name)
