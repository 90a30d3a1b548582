"""Every tracker of the registry: what it wrote is read back and compared with metrics.jsonl."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwcls.config.sweep import TRACKERS
from hwcls.files import write_json
from hwcls.tracking.cursor import Cursor
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.follower import Follower
from hwcls.tracking.left_out import exclude, include
from hwcls.tracking.media import Histogram, Media
from hwcls.tracking.tracker import numeric_values
from tests.tracking.readers import READERS, Reader, WandbReader, reader_of

FOLLOW = """
import sys, time
from pathlib import Path
from hwcls.config.sweep import TRACKERS
from hwcls.tracking.follower import Follower
from hwcls.tracking.folders import SweepFolder
sweep = SweepFolder(Path(sys.argv[1]))
follower = Follower(sweep, TRACKERS[sys.argv[2]].open(sweep, "offline"), "p")
while True:
    follower.poll()
    print("polled", flush=True)
    time.sleep(0.05)
"""


MEDIA = Media(
    classes=("cat", "dog"),
    labels=np.array([0, 0, 1]),
    predicted=np.array([0, 1, 1]),
    columns=("class", "images", "auc"),
    rows=(("cat", 2, 0.75), ("dog", 1, float("nan"))),
    pictures={"predictions": np.full((4, 6, 3), 200, np.uint8)},
    histograms=(Histogram("weights/first", 2, np.array([-1.0, 0.0, 3.0]), np.array([4, 5])),),
)


def _parameter(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.slow) if TRACKERS[name].waits_for_server else name


@pytest.fixture(params=[_parameter(name) for name in TRACKERS.names()])
def sink(request):
    """The reader of each tracker."""
    tracker = TRACKERS[request.param]
    if tracker.package:
        pytest.importorskip(tracker.package, reason=f"pip install 'hwcls[{tracker.extra}]'")
    return reader_of(request.param)


def deliver(sweep: SweepFolder, name: str, media: Any = lambda folder: None, **options: Any) -> None:
    """A process's life in short: open, drain, close."""
    follower = Follower(sweep, TRACKERS[name].open(sweep, "offline"), "p", media, **options)
    while follower.poll():
        pass
    assert follower.undelivered() == {}
    follower.close()


def check_rows(sink: Any, sweep: SweepFolder, key: str) -> None:
    """Every epoch of metrics.jsonl exactly once, in order, with its numbers."""
    text = (sweep.path / key / "metrics.jsonl").read_text()
    lines = [line for line in map(json.loads, text.splitlines()) if "epoch" in line]
    rows = sink.rows(sweep, key)
    assert [row["epoch"] for row in rows] == [line["epoch"] for line in lines]
    for row, line in zip(rows, lines, strict=True):
        wanted = {"epoch": line["epoch"], **numeric_values(line)}
        assert row == pytest.approx(wanted, rel=1e-6)  # TensorBoard has float32


def test_every_epoch_is_there_once(sweep, sink):
    sweep.add(sweep.trial(1), range(1, 5), "stopped")
    confirm = sweep.add(sweep.confirm_run("small", 1007001), range(1, 3))
    confirm.append({"test/accuracy": 0.75})
    sweep.add(confirm, range(0), "complete")
    deliver(sweep, sink.name)
    for key in ("trials/1", "confirm/small/1007001"):
        check_rows(sink, sweep, key)
    assert "test/accuracy" not in sink.rows(sweep, "confirm/small/1007001")[-1]


@pytest.mark.parametrize("name", [_parameter(name) for name in READERS])
def test_config_and_result(sweep, name):
    sink = reader_of(name)
    sweep.add(sweep.trial(1), range(1, 5), "stopped")
    confirm = sweep.add(sweep.confirm_run("small", 1007001), range(1, 3))
    confirm.append({"test/accuracy": 0.75})
    sweep.add(confirm, range(0), "complete")
    deliver(sweep, sink.name)
    summary = sink.summary(sweep, "trials/1")
    assert (summary["status"], summary["best/val/accuracy"]) == ("stopped", pytest.approx(0.05))
    assert sink.summary(sweep, "confirm/small/1007001")["test/accuracy"] == pytest.approx(0.75)
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
        if type(sink) is not Reader:
            assert sink.summary(sweep, f"trials/{number}")["status"] == "complete"


def test_a_finished_run_is_left_alone(sweep, sink):
    sweep.add(sweep.trial(0), range(1, 3), "complete")
    deliver(sweep, sink.name)

    def written():
        """When each file was; W&B's own process may write its log at any time."""
        files = [path for path in sweep.path.rglob("*") if path.is_file() and path.suffix != ".log"]
        return {path: path.stat().st_mtime_ns for path in files}

    before = written()
    deliver(sweep, sink.name)
    assert written() == before


def test_many_runs_at_once(sweep, sink):
    """Open side by side, and each keeps its own rows."""
    follower = Follower(sweep, TRACKERS[sink.name].open(sweep, "offline"), "p")
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


def test_files_truncated_by_a_crash(sweep, sink):
    """The files of an unfinished run lose their ends, and a change of the cursor was written in part."""
    sweep.add(sweep.trial(0), range(1, 4))
    records = set(sweep.path.rglob("*"))
    deliver(sweep, sink.name)
    for path in set(sweep.path.rglob("*")) - records:
        if path.name == "cursor.jsonl":
            path.write_bytes(path.read_bytes() + b'{"run": "trials/0", "ent')
        elif path.is_file() and path.suffix != ".log":
            path.write_bytes(path.read_bytes()[:-3])
    sweep.add(sweep.trial(0), range(4, 6), "complete")
    deliver(sweep, sink.name)
    check_rows(sink, sweep, "trials/0")


def test_the_disk_of_a_run_grows_with_its_epochs():
    for tracker in TRACKERS.all().values():
        assert 0 < tracker.disk_bytes(1) < tracker.disk_bytes(1000)


@pytest.mark.slow
def test_wandb_run_is_named_grouped_and_private(sweep):
    sweep.add(sweep.trial(3), range(1, 3), "complete")
    deliver(sweep, "wandb")
    run = WandbReader("wandb").run(sweep, "trials/3")
    assert (run["display_name"], run["run_group"], run["project"]) == ("small-3", "demo", "p")
    assert sorted(run["tags"]) == ["demo", "small"]
    written = b"".join(path.read_bytes() for path in (sweep.path / "wandb").rglob("*") if path.is_file())
    assert b"--import-mode" not in written  # the command line
    assert str(Path(__file__).parent).encode() not in written


@pytest.mark.slow
def test_wandb_says_what_a_confirm_run_does_and_that_it_is_unfinished(sweep):
    for seed in (1, 2):
        sweep.confirm_run("small", seed).write_purpose({"trial": 7, "role": "report"})
    sweep.add(sweep.confirm_run("small", 1), range(1, 3), "complete")
    sweep.add(sweep.confirm_run("small", 2), range(1, 2))
    deliver(sweep, "wandb")
    sink = reader_of("wandb")
    assert [sink.summary(sweep, f"confirm/small/{seed}")["status"] for seed in (1, 2)] == ["complete", "unfinished"]
    found = sink.config(sweep, "confirm/small/2")
    assert (found["trial"], found["role"]) == (7, "report")
    sweep.add(sweep.confirm_run("small", 2), range(2, 3), "complete")
    deliver(sweep, "wandb")
    assert sink.summary(sweep, "confirm/small/2")["status"] == "complete"


@pytest.mark.slow
def test_wandb_says_where_the_best_weights_are(sweep):
    for number in range(2):
        sweep.add(sweep.trial(number), range(1, 3), "complete")
    deliver(sweep, "wandb")
    sink = reader_of("wandb")
    assert "weights" not in sink.summary(sweep, "trials/1")
    places = []
    for number in (1, 0):
        about = {"run": f"trials/{number}", "why": "", "weights": {"sha256": "", "bytes": 0}}
        write_json(sweep.best.path / "best.json", about)
        deliver(sweep, "wandb")
        places.append([sink.summary(sweep, f"trials/{n}").get("weights") for n in range(2)])
        check_rows(sink, sweep, "trials/1")
    best, own = str(sweep.best.path), str(sweep.trial(1).path)
    assert places == [[None, best], [best, own]]


@pytest.mark.slow
def test_wandb_tags_the_runs_of_excluded_trials(sweep):
    """Also of a trial that was delivered before, and of its confirm runs; they lose the tag with the mark."""
    for number in range(2):
        sweep.add(sweep.trial(number), range(1, 3), "complete")
    sweep.confirm_run("small", 1).write_purpose({"trial": 1, "role": "pick"})
    sweep.add(sweep.confirm_run("small", 1), range(1, 3), "complete")
    deliver(sweep, "wandb")

    def tagged():
        keys = ("trials/0", "trials/1", "confirm/small/1")
        return [key for key in keys if "left out" in WandbReader("wandb").run(sweep, key)["tags"]]

    assert tagged() == []
    exclude(sweep.trial(1).path, "faulty")
    deliver(sweep, "wandb")
    assert tagged() == ["trials/1", "confirm/small/1"]
    check_rows(reader_of("wandb"), sweep, "trials/1")
    include(sweep.trial(1).path)
    deliver(sweep, "wandb")
    assert tagged() == []


@pytest.mark.slow
def test_a_new_sweep_of_the_same_name_gets_other_run_ids(sweep, tmp_path):
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
    assert tracker.finished_runs == 1
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
    sink = WandbReader("wandb")
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
    kinds = [record["type"] for record in sink.records(sweep, "trials/0")]
    assert "artifact" in kinds


@pytest.mark.slow
def test_wandb_media_of_an_end_that_comes_late_have_a_row_of_their_own(sweep):
    sink = WandbReader("wandb")
    sweep.add(sweep.trial(0), range(1, 3))
    follower = Follower(sweep, TRACKERS[sink.name].open(sweep, "offline"), "p", lambda folder: MEDIA)
    follower.poll()
    sweep.add(sweep.trial(0), range(0), "stopped")
    follower.poll()
    follower.close()
    rows = sink.rows(sweep, "trials/0")
    assert [row.get("epoch") for row in rows] == [1, 2, None]
    assert rows[-1]["per_class._type"] == "table-file"
