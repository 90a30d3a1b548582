"""A real wandb client against the server on the loopback."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest
import wandb

from hwcls.config.sweep import TRACKERS
from hwcls.errors import UserError
from hwcls.tracking import delivery
from hwcls.tracking.follower import Follower
from hwcls.tracking.records import Result
from hwcls.tracking.tracker import Axis, SweepSummary
from hwcls.tracking.wandb import login, read_run_urls
from hwcls.tracking.wandb import run as wandb_run
from hwcls.tracking.wandb.sync import sync_sweep
from hwcls.tracking.wandb.tracker import WandbTracker
from hwcls.tracking.wandb.workspace import save_workspace
from tests.tracking.conftest import Server
from tests.tracking.test_trackers import MEDIA

pytestmark = pytest.mark.slow

FOLLOW_ONLINE = """
import sys, time
from pathlib import Path
from hwcls.config.sweep import TRACKERS
from hwcls.tracking.follower import Follower
from hwcls.tracking.folders import SweepFolder
sweep = SweepFolder(Path(sys.argv[1]))
follower = Follower(sweep, TRACKERS["wandb"].open(sweep, "online"), "p")
while True:
    follower.poll()
    print("polled", flush=True)
    time.sleep(0.05)
"""


@pytest.fixture
def soon(monkeypatch):
    """Refused runs are asked again at once, and nothing takes long."""
    monkeypatch.setattr(delivery, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(delivery, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(wandb_run, "UPLOAD_SECONDS", 3.0)
    monkeypatch.setattr(wandb_run, "INIT_SECONDS", 4.0)
    monkeypatch.setattr(login, "ANSWER_SECONDS", 4.0)


def drained(sweep, mode="online"):
    follower = Follower(sweep, TRACKERS["wandb"].open(sweep, mode), "p")
    while follower.poll():
        pass
    return follower


def test_runs_reach_the_server_and_no_key_reaches_the_disk(sweep, server, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["the-program", "the-argument"])
    sweep.add(sweep.trial(0), range(1, 4), "complete")
    sweep.add(sweep.trial(1), range(1, 3), "failed")
    confirm = sweep.add(sweep.confirm_run("small", 1007001), range(1, 3))
    confirm.append({"test/accuracy": 0.75})
    sweep.add(confirm, range(0), "complete")
    drained(sweep, "auto").close()
    assert server.epochs() == {"small-0": [1, 2, 3], "small-1": [1, 2], "small-1007001": [1, 2]}
    runs = {run["name"]: run for run in server.runs.values()}
    assert {name: run["state"] for name, run in runs.items()} == {
        "small-0": "finished", "small-1": "failed", "small-1007001": "finished",
    }  # fmt: skip
    assert {run["kind"] for run in runs.values()} == {"trial", "confirm"}
    assert {run["group"] for run in runs.values()} == {"demo"}
    assert runs["small-0"]["config"]["lr"]["value"] == 1e-3
    assert runs["small-0"]["summary"]["best/epoch"] == 3
    assert runs["small-1007001"]["summary"]["test/accuracy"] == 0.75
    everything = b"".join(path.read_bytes() for path in sweep.path.parent.parent.rglob("*") if path.is_file())
    assert b"small" in everything
    assert server.key.encode() not in everything
    assert not any(server.key in body for body in server.bodies)
    assert not any(word in body for word in sys.argv for body in server.bodies)


def test_resumed_each_epoch_is_there_once(sweep, server):
    sweep.add(sweep.trial(0), range(1, 4))
    sweep.add(sweep.trial(1), range(1, 4), "stopped_by_user")
    drained(sweep).close()
    sweep.add(sweep.trial(0), range(4, 6), "complete")
    sweep.add(sweep.trial(1), range(4, 5), "complete")
    drained(sweep).close()
    assert server.epochs() == {"small-0": [1, 2, 3, 4, 5], "small-1": [1, 2, 3, 4]}
    assert {run["state"] for run in server.runs.values()} == {"finished"}


def test_a_paused_trial_is_one_run_that_goes_on(sweep, server):
    """At a rung it is closed, but not as one that failed; a sweep that starts again leaves it so until it continues."""
    trial = sweep.add(sweep.trial(0), range(1, 3))
    trial.pause(Result("stopped", {"epoch": 2, "val/accuracy": 0.5}, None, {}, 1.0))
    for _ in range(2):
        drained(sweep).close()
        (run,) = server.runs.values()
        assert (run["state"], run["summary"]["status"]) == ("finished", "paused")
        assert server.epochs() == {"small-0": [1, 2]}
    follower = drained(sweep)
    trial.resume()
    sweep.add(trial, range(3, 5))
    while follower.poll(recheck=False):
        pass
    assert run["state"] == "running"
    sweep.add(trial, range(5, 6), "complete")
    while follower.poll(recheck=False):
        pass
    follower.close()
    assert len(server.runs) == 1
    assert server.epochs() == {"small-0": [1, 2, 3, 4, 5]}
    assert (run["state"], run["summary"]["status"]) == ("finished", "complete")


def test_killed_with_rows_on_their_way(sweep, server):
    sweep.add(sweep.trial(0), range(1, 4))
    drained(sweep).close()
    sweep.add(sweep.trial(0), range(4, 6))
    command = [sys.executable, "-c", FOLLOW_ONLINE, str(sweep.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "polled\n"
        sweep.add(sweep.trial(0), range(6, 8))
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
    sweep.add(sweep.trial(0), range(8, 10), "complete")
    drained(sweep).close()
    assert server.epochs() == {"small-0": list(range(1, 10))}


def test_sync_sends_what_was_written_offline_and_only_that(sweep, server):
    sweep.add(sweep.trial(0), range(1, 4), "complete")
    drained(sweep, "offline").close()
    assert server.runs == {}
    sweep.add(sweep.trial(1), range(1, 3), "complete")
    assert sync_sweep(sweep, "p") == 2
    assert server.epochs() == {"small-0": [1, 2, 3], "small-1": [1, 2]}
    assert not list((sweep.path / "wandb").glob("offline-run-*"))  # `wandb sync` would send them a second time
    assert sync_sweep(sweep, "p") == 0
    drained(sweep, "offline").close()
    assert not list((sweep.path / "wandb").glob("offline-run-*"))


def test_files_in_another_folder_are_one_for_each_run_until_sync_deletes_them(sweep, server, monkeypatch, tmp_path):
    def written(folder):
        return len(list((folder / "wandb").glob("offline-run-*")))

    sweep.add(sweep.trial(0), range(1, 3))
    drained(sweep, "offline").close()
    assert written(sweep.path) == 1
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
    for epochs, status in ((range(3, 4), None), (range(4, 5), "complete")):
        sweep.add(sweep.trial(0), epochs, status)
        drained(sweep, "offline").close()
        assert (written(sweep.path), written(tmp_path / "elsewhere")) == (0, 1)
    assert sync_sweep(sweep, "p") == 1
    assert server.epochs() == {"small-0": [1, 2, 3, 4]}
    assert written(tmp_path / "elsewhere") == 0


def test_files_in_another_folder_are_deleted_where_it_is_named_no_more(sweep, server, monkeypatch, tmp_path):
    """Else `wandb sync` would upload them a second time."""

    def written(folder):
        return [path.name for path in (folder / "wandb").glob("offline-run-*")]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_DIR", "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    sweep.add(sweep.trial(0), range(1, 3), "complete")
    sweep.add(sweep.trial(1), range(1, 3))
    drained(sweep, "offline").close()
    assert len(written(tmp_path / "elsewhere")) == 2
    monkeypatch.delenv("WANDB_DIR")
    sweep.add(sweep.trial(1), range(3, 4), "complete")
    drained(sweep, "offline").close()
    assert (len(written(tmp_path / "elsewhere")), len(written(sweep.path))) == (1, 1)
    monkeypatch.chdir(sweep.path)
    assert sync_sweep(sweep, "p") == 2
    assert server.epochs() == {"small-0": [1, 2], "small-1": [1, 2, 3]}
    assert written(tmp_path / "elsewhere") == written(sweep.path) == []


def test_no_credentials(sweep, monkeypatch):
    with pytest.raises(UserError, match=r"no credentials.*wandb login"):
        TRACKERS["wandb"].open(sweep, "online")
    with pytest.raises(UserError, match="wandb login"):
        sync_sweep(sweep, "p")
    sweep.add(sweep.trial(0), range(1, 3), "complete")
    drained(sweep, "auto").close()
    assert len(list((sweep.path / "wandb").glob("offline-run-*"))) == 1
    assert "W&B is offline: there are no credentials" in (sweep.path / "tracking.log").read_text()


def test_rejected_credentials(sweep, server):
    server.status = 401
    with pytest.raises(UserError, match=r"401.*wandb login"):
        TRACKERS["wandb"].open(sweep, "online")
    sweep.add(sweep.trial(0), range(1, 3), "complete")
    drained(sweep, "auto").close()
    assert "W&B is offline: " in (sweep.path / "tracking.log").read_text()


def test_a_server_that_is_down_at_the_start(sweep, server, soon):
    server.status = 500
    sweep.add(sweep.trial(0), range(1, 3), "complete")
    began = time.monotonic()
    drained(sweep, "auto").close()
    assert time.monotonic() - began < 8
    assert len(list((sweep.path / "wandb").glob("offline-run-*"))) == 1
    with pytest.raises(UserError, match=r"answers with an error \(500\)"):
        sync_sweep(sweep, "p")
    server.status = 200
    assert sync_sweep(sweep, "p") == 1
    assert server.epochs() == {"small-0": [1, 2]}


def test_a_server_that_fails_at_init_and_comes_back(sweep, server, soon):
    tracker = WandbTracker(sweep, online=True)
    follower = Follower(sweep, [tracker], "p")
    sweep.add(sweep.trial(0), range(1, 3))
    follower.poll()
    server.status = 500
    sweep.add(sweep.trial(1), range(1, 3))
    sweep.add(sweep.trial(0), range(3, 5))
    follower.poll()
    assert set(follower.undelivered()) == {"trials/1"}
    server.status = 200
    sweep.add(sweep.trial(1), range(3, 5), "complete")
    sweep.add(sweep.trial(0), range(5, 7), "complete")
    deadline = time.monotonic() + 60
    while (follower.poll() or follower.undelivered()) and time.monotonic() < deadline:
        time.sleep(0.2)
    follower.close()
    assert server.epochs() == {"small-0": [1, 2, 3, 4, 5, 6], "small-1": [1, 2, 3, 4]}


@pytest.mark.parametrize("status", [500, 401])
def test_a_server_that_fails_in_mid_run_and_comes_back(sweep, server, soon, status):
    """401 is final for W&B, and its finish() reports no error: a run counts as uploaded only if it was."""
    sweep.add(sweep.trial(0), range(1, 3))
    follower = Follower(sweep, [WandbTracker(sweep, online=True)], "p")
    follower.poll()
    server.status = status
    sweep.add(sweep.trial(0), range(3, 5), "complete")
    assert not follower.poll()
    assert set(follower.undelivered()) == {"trials/0"}
    server.status = 200
    deadline = time.monotonic() + 60
    while follower.undelivered() and time.monotonic() < deadline:
        follower.poll()
        time.sleep(0.2)
    follower.close()
    assert server.epochs() == {"small-0": [1, 2, 3, 4]}
    assert sync_sweep(sweep, "p") == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # W&B's threads after its teardown
def test_a_server_that_is_down_at_the_end_holds_nothing_up(sweep, server, soon):
    for number in range(8):
        sweep.add(sweep.trial(number), range(1, 3))
    follower = Follower(sweep, [WandbTracker(sweep, online=True)], "p")
    follower.poll()
    server.status = 500
    began = time.monotonic()
    follower.close()
    assert time.monotonic() - began < 8 * wandb_run.UPLOAD_SECONDS * 0.75  # not one wait for each run
    server.status = 200
    for number in range(8):
        sweep.add(sweep.trial(number), range(0), "complete")
    drained(sweep).close()
    assert set(map(tuple, server.epochs().values())) == {(1, 2)}
    assert len(server.epochs()) == 8


def test_media_and_weights_reach_the_server_once(sweep, server):
    folder = sweep.add(sweep.trial(0), range(1, 4), "complete")
    (folder.path / "best.safetensors").write_bytes(b"weights")

    def follow_once():
        follower = Follower(sweep, [WandbTracker(sweep, online=True)], "p", lambda folder: MEDIA, artifacts=True)
        while follower.poll():
            assert follower.undelivered() == {}
        follower.close()

    follow_once()
    (run,) = server.runs.values()
    assert [row["epoch"] for row in run["rows"]] == [1, 2, 3]
    assert {"per_class", "confusion_table", "predictions"} <= run["rows"][-1].keys()
    assert any(name.startswith("media/images/predictions") for name in server.files)
    assert {"run_table", "model"} <= {version["type"] for version in server.artifacts.versions}
    folder.append({"test/accuracy": 0.5})  # as a confirm run that is scored later
    sweep.add(folder, range(0), "complete")
    follow_once()
    assert [row["epoch"] for row in run["rows"]] == [1, 2, 3]
    assert run["summary"]["test/accuracy"] == 0.5
    assert ["/me/p/runs/" in url for url in read_run_urls(sweep).values()] == [True]


def test_the_stop_button_asks_for_the_end_of_that_trial(sweep, server):
    for number in range(2):
        sweep.add(sweep.trial(number), range(1, 3))
    follower = Follower(sweep, [WandbTracker(sweep, online=True)], "p")
    follower.poll()
    server.stopped = {"small-1"}
    sweep.add(sweep.trial(1), range(3, 4))
    follower.poll()
    deadline = time.monotonic() + 60
    while not sweep.trial(1).stop_requested() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert sweep.trial(1).stop_requested()
    sweep.add(sweep.trial(0), range(3, 5), "complete")
    sweep.add(sweep.trial(1), range(0), "stopped_by_user")
    follower.poll()
    follower.close()
    assert not sweep.trial(0).stop_requested()
    assert server.epochs() == {"small-0": [1, 2, 3, 4], "small-1": [1, 2, 3]}


@pytest.mark.filterwarnings("ignore")
def test_a_workspace_is_saved_twice(sweep, server):
    pytest.importorskip("wandb_workspaces", reason="pip install 'hwcls[workspace]'")
    view = SweepSummary("demo", "p", "val/accuracy", "maximize", [Axis("lr", log=True), Axis("model")], "")
    url = save_workspace(sweep, view)
    assert save_workspace(sweep, view) == url
    (saved,) = server.views.values()
    assert saved["entityName"] == "me"
    assert saved["displayName"] == "hwcls demo"
    spec = json.loads(saved["spec"])
    panels = [panel for part in spec["section"]["panelBankConfig"]["sections"] for panel in part["panels"]]
    kinds = {panel["viewType"] for panel in panels}
    wanted = {"Run History Line Plot", "Parallel Coordinates Plot", "Parameter Importance", "Run Comparer"}
    assert wanted | {"Media Browser", "Scatter Plot"} <= kinds
    (chosen,) = spec["section"]["runSets"][0]["filters"]["filters"]
    assert (chosen["key"], chosen["op"], chosen["value"]) == ({"section": "config", "name": "sweep"}, "=", "demo")


def test_a_workspace_without_credentials(sweep):
    pytest.importorskip("wandb_workspaces", reason="pip install 'hwcls[workspace]'")
    with pytest.raises(UserError, match="wandb login"):
        save_workspace(sweep, SweepSummary("demo", "p", "val/accuracy", "maximize", [], ""))


def test_another_entity_gets_every_run(sweep, server):
    def deliver_to(entity):
        settings = {"name": "demo", "compare": "model", "trackers": {"wandb": {"entity": entity}}}
        (sweep.path / "sweep.yaml").write_text(json.dumps(settings))
        (tracker,) = TRACKERS["wandb"].open(sweep, "online")
        follower = Follower(sweep, [tracker], "p")
        while follower.poll():
            pass
        follower.close()
        return tracker.finished_runs

    sweep.add(sweep.trial(0), range(1, 3), "complete")
    assert [deliver_to("a"), deliver_to("a")] == [1, 0]
    sweep.add(sweep.trial(1), range(1, 3), "complete")
    assert deliver_to("b") == 2


def test_another_server_gets_every_run(sweep, server, monkeypatch):
    sweep.add(sweep.trial(0), range(1, 3), "complete")
    assert [sync_sweep(sweep, "p"), sync_sweep(sweep, "p")] == [1, 0]
    other = Server()
    monkeypatch.setenv("WANDB_BASE_URL", other.url)
    wandb.teardown()  # as in a new process
    assert [sync_sweep(sweep, "p"), sync_sweep(sweep, "p")] == [1, 0]
    assert other.epochs() == server.epochs() == {"small-0": [1, 2]}
    other.close()
