"""What every tracker keeps to, read back from what it wrote and held against metrics.jsonl."""

from __future__ import annotations

import functools
import json
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.follower import Follower, open_trackers
from hwcls.tracking.tracker import Cursor, Histogram, Media, numbers

FOLLOW = """
import sys, time
from pathlib import Path
from hwcls.tracking.follower import Follower, open_trackers
from hwcls.tracking.folders import SweepFolder
sweep = SweepFolder(Path(sys.argv[1]))
follower = Follower(sweep, open_trackers(sys.argv[2:], sweep, "p", "offline"), "p")
while True:
    follower.poll()
    print("polled", flush=True)
    time.sleep(0.05)
"""


class TensorBoard:
    """Reads event files without TensorBoard: length, checksum, protobuf, checksum."""

    name = "tensorboard"

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


MEDIA = Media(
    classes=("cat", "dog"),
    labels=np.array([0, 0, 1]),
    predicted=np.array([0, 1, 1]),
    columns=("class", "images", "auc"),
    rows=(("cat", 2, 0.75), ("dog", 1, float("nan"))),
    pictures={"predictions": np.full((4, 6, 3), 200, np.uint8)},
    histograms=(Histogram("weights/first", 2, np.array([-1.0, 0.0, 3.0]), np.array([4, 5])),),
)


@functools.cache  # a call takes seconds
def inspect(path: Path, written: int) -> list[dict[str, Any]]:
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in output.splitlines()]


class Wandb:
    """Reads offline runs as users can: `wandb leet inspect`."""

    name = "wandb"

    def rows(self, sweep: SweepFolder, key: str) -> list[dict[str, Any]]:
        items = [record["history"]["item"] for record in self._records(sweep, key) if record["type"] == "history"]
        return [{name: value for name, value in item.items() if not name.startswith("_")} for item in items]

    def summary(self, sweep: SweepFolder, key: str) -> dict[str, Any]:
        updates: dict[str, Any] = {}
        for record in self._records(sweep, key):
            if record["type"] == "summary":
                updates |= record["summary"]["update"]
        return {name: value for name, value in updates.items() if name.startswith(("best/", "test/", "status"))}

    def config(self, sweep: SweepFolder, key: str) -> dict[str, Any]:
        update = self.run(sweep, key)["config"]["update"]
        return {name: value for name, value in update.items() if not name.startswith("_")}

    def run(self, sweep: SweepFolder, key: str) -> dict[str, Any]:
        return next(record["run"] for record in self._records(sweep, key) if record["type"] == "run")

    def _records(self, sweep: SweepFolder, key: str) -> list[dict[str, Any]]:
        run_id = Cursor(sweep.path / "wandb" / "cursor.jsonl").get(key)["id"]
        (path,) = (sweep.path / "wandb").glob(f"*-{run_id}*/*.wandb")  # one folder: nothing is there twice
        return inspect(path, path.stat().st_mtime_ns)


@pytest.fixture(params=[TensorBoard, pytest.param(Wandb, marks=pytest.mark.slow)])
def sink(request):
    if request.param is TensorBoard:
        pytest.importorskip("tensorboardX", reason="pip install 'hwcls[tensorboard]'")
    return request.param()


def deliver(sweep: SweepFolder, name: str, media: Any = lambda folder: None, **options: Any) -> None:
    """A process's life in short: open, drain, close."""
    follower = Follower(sweep, open_trackers([name], sweep, "p", "offline"), "p", media, **options)
    while follower.poll():
        pass
    assert follower.behind() == {}
    follower.close()


def check_rows(sink: Any, sweep: SweepFolder, key: str) -> None:
    """Every epoch of metrics.jsonl exactly once, in order, with its numbers."""
    text = (sweep.path / key / "metrics.jsonl").read_text()
    lines = [line for line in map(json.loads, text.splitlines()) if "epoch" in line]
    rows = sink.rows(sweep, key)
    assert [row["epoch"] for row in rows] == [line["epoch"] for line in lines]
    for row, line in zip(rows, lines, strict=True):
        assert row == pytest.approx({"epoch": line["epoch"], **numbers(line)}, rel=1e-6)  # TensorBoard has float32


def test_rows_config_and_ending(sweep, sink):
    sweep.add(sweep.trial(1), range(1, 5), "stopped")
    confirm = sweep.add(sweep.confirm_run("small", 1007001), range(1, 3))
    confirm.append({"test/accuracy": 0.75})
    sweep.add(confirm, range(0), "complete")
    deliver(sweep, sink.name)
    for key in ("trials/1", "confirm/small/1007001"):
        check_rows(sink, sweep, key)
    summary = sink.summary(sweep, "trials/1")
    assert (summary["status"], summary["best/val/accuracy"]) == ("stopped", pytest.approx(0.05))
    assert sink.summary(sweep, "confirm/small/1007001")["test/accuracy"] == pytest.approx(0.75)
    assert "test/accuracy" not in sink.rows(sweep, "confirm/small/1007001")[-1]
    wanted = sweep.trial(1).config().flat() | {"sweep": "demo", "trial": 1}
    found = sink.config(sweep, "trials/1")
    assert {name: value for name, value in found.items() if name in wanted and value is not None} == {
        name: value for name, value in wanted.items() if value is not None
    }


def test_started_again_each_epoch_is_there_once(sweep, sink):
    sweep.add(sweep.trial(0), range(1, 3))
    sweep.add(sweep.trial(1), range(1, 3), "stopped_by_user")
    deliver(sweep, sink.name)
    sweep.add(sweep.trial(0), range(3, 5), "complete")
    sweep.add(sweep.trial(1), range(3, 4), "complete")
    deliver(sweep, sink.name)
    deliver(sweep, sink.name)
    for number in (0, 1):
        check_rows(sink, sweep, f"trials/{number}")
        assert sink.summary(sweep, f"trials/{number}")["status"] == "complete"


def test_a_finished_run_is_left_alone(sweep, sink):
    sweep.add(sweep.trial(0), range(1, 3), "complete")
    deliver(sweep, sink.name)

    def written():
        """When each file was; W&B's own process writes the end of its log when it likes."""
        files = [path for path in (sweep.path / sink.name).rglob("*") if path.is_file() and path.suffix != ".log"]
        return {path: path.stat().st_mtime_ns for path in files}

    before = written()
    deliver(sweep, sink.name)
    assert written() == before


def test_many_runs_at_once(sweep, sink):
    """Open side by side, and each keeps its own rows."""
    follower = Follower(sweep, open_trackers([sink.name], sweep, "p", "offline"), "p")
    for epoch in range(1, 4):
        for number in range(6):
            sweep.add(sweep.trial(number), range(epoch, epoch + 1), "complete" if epoch == 3 else None)
        follower.poll()
    follower.close()
    for number in (0, 5):
        check_rows(sink, sweep, f"trials/{number}")


@pytest.mark.slow
def test_killed_in_mid_run(sweep, sink):
    command = [sys.executable, "-c", FOLLOW, str(sweep.path), sink.name]
    sweep.add(sweep.trial(0), range(1, 4))
    sweep.add(sweep.trial(1), range(1, 4), "complete")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "polled\n"
        sweep.add(sweep.trial(0), range(4, 7))
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
    sweep.add(sweep.trial(0), range(7, 9), "complete")
    deliver(sweep, sink.name)
    for number in (0, 1):
        check_rows(sink, sweep, f"trials/{number}")


@pytest.mark.slow
def test_wandb_run_is_named_grouped_and_private(sweep):
    sweep.add(sweep.trial(3), range(1, 3), "complete")
    deliver(sweep, "wandb")
    run = Wandb().run(sweep, "trials/3")
    assert (run["display_name"], run["run_group"], run["project"]) == ("small-3", "demo", "p")
    assert sorted(run["tags"]) == ["demo", "small"]
    written = b"".join(path.read_bytes() for path in (sweep.path / "wandb").rglob("*") if path.is_file())
    assert b"--import-mode" not in written  # the command line
    assert str(Path(__file__).parent).encode() not in written


@pytest.mark.slow
def test_the_same_name_anew_gets_other_run_ids(sweep, tmp_path):
    from hwcls.tracking.wandb.tracker import WandbTracker

    sweep.add(sweep.trial(0), range(1, 2), "complete")
    deliver(sweep, "wandb")
    first = Cursor(sweep.path / "wandb" / "cursor.jsonl").get("trials/0")["id"]
    deliver(sweep, "wandb")
    assert Cursor(sweep.path / "wandb" / "cursor.jsonl").get("trials/0")["id"] == first
    sweep.path.rename(tmp_path / "old")
    sweep.add(sweep.trial(0), range(1, 2), "complete")
    tracker = WandbTracker(sweep, online=False)
    follower = Follower(sweep, [tracker], "p")
    follower.poll()
    follower.close()
    assert tracker.sent == 1
    assert Cursor(sweep.path / "wandb" / "cursor.jsonl").get("trials/0")["id"] != first


def test_tensorboard_shows_histograms_and_pictures(sweep):
    """Read back by TensorBoard's own reader."""
    pytest.importorskip("tensorboard", reason="pip install 'hwcls[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sweep.add(sweep.trial(0), range(1, 4), "complete")
    deliver(sweep, "tensorboard", lambda folder: MEDIA)
    events = EventAccumulator(str(sweep.path / "tensorboard" / "trials" / "0"))
    events.Reload()
    tags = events.Tags()
    assert {"train/loss", "val/accuracy", "lr"} <= set(tags["scalars"])
    assert [event.step for event in events.Scalars("lr")] == [1, 2, 3]
    (event,) = events.Histograms("weights/first")
    found = event.histogram_value
    assert (event.step, found.min, found.max, found.num) == (2, -1.0, 3.0, 9.0)
    assert (list(found.bucket_limit), list(found.bucket)) == ([0.0, 3.0], [4.0, 5.0])
    (event,) = events.Images("predictions")
    assert (event.step, event.width, event.height) == (3, 6, 4)
    assert any("_hparams_/session_start_info" in tag for tag in events.summary_metadata)


@pytest.mark.slow
def test_wandb_shows_media_in_the_row_of_the_last_epoch(sweep):
    sink = Wandb()
    weights = sweep.add(sweep.trial(0), range(1, 4), "complete").path / "best.safetensors"
    weights.write_bytes(b"weights")
    deliver(sweep, sink.name, lambda folder: MEDIA, artifacts=True)
    rows = sink.rows(sweep, "trials/0")
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    kinds = {name: rows[-1][f"{name}._type"] for name in ("per_class", "confusion_table", "predictions")}
    assert kinds == {"per_class": "table-file", "confusion_table": "table-file", "predictions": "image-file"}
    assert rows[-1]["train/loss"] == pytest.approx(1 / 3)
    assert not {"per_class._type", "predictions._type"} & (rows[0].keys() | rows[1].keys())
    (run,) = (sweep.path / "wandb").glob("offline-run-*")
    table = json.loads(next(run.glob("files/media/table/per_class*.json")).read_text())
    assert table == {"columns": ["class", "images", "auc"], "data": [["cat", 2, 0.75], ["dog", 1, None]]}
    kinds = [record["type"] for record in sink._records(sweep, "trials/0")]
    assert "artifact" in kinds


@pytest.mark.slow
def test_wandb_media_of_an_end_that_comes_late_have_a_row_of_their_own(sweep):
    sink = Wandb()
    sweep.add(sweep.trial(0), range(1, 3))
    follower = Follower(sweep, open_trackers([sink.name], sweep, "p", "offline"), "p", lambda folder: MEDIA)
    follower.poll()
    sweep.add(sweep.trial(0), range(0), "stopped")
    follower.poll()
    follower.close()
    rows = sink.rows(sweep, "trials/0")
    assert [row.get("epoch") for row in rows] == [1, 2, None]
    assert rows[-1]["per_class._type"] == "table-file"
