"""The follower with trackers in memory: order, restarts, errors, cost."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from hwcls.config.sweep import TRACKERS
from hwcls.errors import UserError
from hwcls.files import write_json, write_yaml
from hwcls.reading import read_yaml
from hwcls.tracking import delivery, folders
from hwcls.tracking import follower as follower_module
from hwcls.tracking.follower import Follower
from hwcls.tracking.records import Result
from hwcls.tracking.tracker import RunInfo


class Memory:
    """Notes every call; raises while `down` is set, or for the runs in `bad`."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.ended: dict[str, str | None] = {}
        self.last: dict[str, bool] = {}  # whether the last line was called the last
        self.infos: dict[str, RunInfo] = {}
        self.down = False
        self.problem: str | None = None
        self.bad: set[str] = set()

    def start(self, run: RunInfo) -> None:
        self._check("start", run)
        self.infos[run.key], self.rows[run.key] = run, []
        self.ended.pop(run.key, None)

    def log(self, run: RunInfo, line: dict[str, Any], *, last: bool = False) -> None:
        self._check("log", run)
        self.rows[run.key].append(line)
        self.last[run.key] = last

    def finish(self, run: RunInfo, result: Any) -> None:
        self._check("finish", run)
        self.ended[run.key] = result.status if result else None

    def close(self) -> None:
        self.calls.append(("close",))

    def _check(self, what: str, run: RunInfo) -> None:
        self.calls.append((what, run.key))
        if self.down or run.key in self.bad:
            raise RuntimeError(f"no {what}")


@pytest.fixture
def clock(monkeypatch):
    """time.monotonic under the test's control."""
    now = [0.0]
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now[0])
    return now


def test_the_newest_line_waits_a_moment_for_the_end(sweep, monkeypatch):
    memory = Memory()
    follower = Follower(sweep, [memory], "p")
    sweep.add(sweep.trial(0), range(1, 4))
    sweep.add(sweep.trial(1), range(1, 4))
    follower.poll(recheck=False)
    assert [line["epoch"] for line in memory.rows["trials/0"]] == [1, 2]
    sweep.add(sweep.trial(0), range(0), "stopped")
    follower.poll(recheck=False)
    assert [line["epoch"] for line in memory.rows["trials/0"]] == [1, 2, 3]
    assert memory.ended == {"trials/0": "stopped"}
    assert memory.last == {"trials/0": True, "trials/1": False}
    assert [line["epoch"] for line in memory.rows["trials/1"]] == [1, 2]
    now = delivery.time.time() + delivery.LINE_DELAY
    monkeypatch.setattr(delivery.time, "time", lambda: now)
    follower.poll(recheck=False)  # nothing came: it is delivered by itself
    assert [line["epoch"] for line in memory.rows["trials/1"]] == [1, 2, 3]
    assert not follower.poll(recheck=False)
    assert memory.last["trials/1"] is False


def test_media_that_cannot_be_made_refuse_no_run(sweep):
    def broken(folder):
        raise ValueError("odd data")

    memory = Memory()
    sweep.add(sweep.trial(0), range(1, 4), "complete")
    follower = Follower(sweep, [memory], "p", broken)
    follower.poll()
    assert memory.infos["trials/0"].media() is None
    assert follower.undelivered() == {}
    assert "trials/0 has no pictures: ValueError: odd data" in (sweep.path / "tracking.log").read_text()


def test_the_last_pass_waits_for_nothing(sweep):
    memory = Memory()
    sweep.add(sweep.trial(0), range(1, 4))
    Follower(sweep, [memory], "p").poll()
    assert [line["epoch"] for line in memory.rows["trials/0"]] == [1, 2, 3]


def test_lines_arrive_in_order_and_once(sweep):
    sweep.add(sweep.trial(0), range(1, 4))
    sweep.add(sweep.trial(10), range(1, 3), "complete")
    memory = Memory()
    follower = Follower(sweep, [memory], "p")
    assert follower.poll()
    assert not follower.poll()
    sweep.add(sweep.trial(0), range(4, 6), "stopped")
    assert follower.poll()
    assert not follower.poll()
    assert memory.rows == {f"trials/{n}": sweep.trial(n).records() for n in (0, 10)}
    assert memory.ended == {"trials/0": "stopped", "trials/10": "complete"}
    assert [call for call in memory.calls if call[0] == "start"] == [("start", "trials/0"), ("start", "trials/10")]


def test_what_a_run_is_called(sweep):
    sweep.add(sweep.trial(7), range(1, 2), label="wide")
    sweep.confirm_run("wide", 1007001).write_purpose({"trial": 7, "role": "pick"})
    sweep.add(sweep.confirm_run("wide", 1007001), range(1, 2), label="wide")
    memory = Memory()
    Follower(sweep, [memory], "my project").poll()
    trial, confirm = memory.infos["trials/7"], memory.infos["confirm/wide/1007001"]
    assert (trial.name, trial.kind, trial.label, trial.tags) == ("wide-7", "trial", "wide", ("wide", "demo"))
    assert (confirm.name, confirm.kind, confirm.label) == ("wide-1007001", "confirm", "wide")
    assert (confirm.tags, confirm.config["trial"], confirm.config["role"]) == (("wide", "demo", "pick"), 7, "pick")
    assert trial.project == "my project"
    assert trial.config == sweep.trial(7).config().flat() | {"sweep": "demo", "trial": 7}
    assert all(not isinstance(value, (dict, list)) for value in trial.config.values())


def test_a_number_has_the_label_that_the_sweep_file_gives_it(sweep):
    parameters = {"data": "digits", "model": "mlp", "optimizer": "adam", "label_smoothing": {"values": [0, 0.1]}}
    write_yaml(sweep.path / "sweep.yaml", {"compare": "parameters.label_smoothing", "parameters": parameters})
    sweep.add(sweep.trial(7), range(1, 2))
    memory = Memory()
    Follower(sweep, [memory], "p").poll()
    assert sweep.trial(7).settings()["label_smoothing"] == 0.0
    assert memory.infos["trials/7"].name == "0-7"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('{"image_size": 24, "channels": 3}', (24, 3)),
        ('{"image_size": 24, "channels": 3, "others": [{"image_size": 8}]}', (None, None)),
        ("{", (None, None)),
    ],
)
def test_what_a_config_leaves_to_the_data_set_is_filled_in(sweep, data, expected):
    (sweep.path / "data.json").write_text(data)
    sweep.add(sweep.trial(0), range(1, 2))
    memory = Memory()
    Follower(sweep, [memory], "p").poll()
    config = memory.infos["trials/0"].config
    assert (config["image_size"], config["channels"]) == expected


def test_without_compare_there_is_no_label(sweep):
    (sweep.path / "sweep.yaml").write_text("name: demo\n")
    sweep.add(sweep.trial(7), range(1, 2))
    memory = Memory()
    Follower(sweep, [memory], "p").poll()
    assert memory.infos["trials/7"].label is None
    assert memory.infos["trials/7"].name == "trial-7"


def test_a_partial_line_waits_for_its_rest(sweep):
    folder = sweep.add(sweep.trial(0), range(1, 3))
    whole = folder.metrics_path.read_bytes()
    folder.metrics_path.write_bytes(whole + b'{"epoch": 3, "val')
    memory = Memory()
    follower = Follower(sweep, [memory], "p")
    follower.poll()
    assert [row["epoch"] for row in memory.rows["trials/0"]] == [1, 2]
    sweep.add(folder, range(3, 4))  # append() removes the partial line
    follower.poll()
    assert [row["epoch"] for row in memory.rows["trials/0"]] == [1, 2, 3]


def test_a_finished_run_that_is_resumed_is_replayed_from_its_first_epoch(sweep):
    folder = sweep.add(sweep.trial(0), range(1, 3), "stopped_by_user")
    memory = Memory()
    follower = Follower(sweep, [memory], "p")
    follower.poll()
    (folder.path / "result.json").unlink()
    sweep.add(folder, range(3, 4))
    follower.poll()
    assert [row["epoch"] for row in memory.rows["trials/0"]] == [1, 2, 3]
    assert memory.ended == {}
    sweep.add(folder, range(4, 5), "complete")
    follower.poll()
    assert [row["epoch"] for row in memory.rows["trials/0"]] == [1, 2, 3, 4]
    assert memory.ended == {"trials/0": "complete"}


def test_a_run_is_delivered_again_when_it_becomes_the_best_one_and_when_another_does(sweep):
    for number in range(3):
        sweep.add(sweep.trial(number), range(1, 3), "complete")
    memory = Memory()
    follower = Follower(sweep, [memory], "p")
    assert (follower.poll(), follower.poll()) == (True, False)
    for number, again in ((1, {1}), (2, {1, 2})):
        memory.calls.clear()
        about = {"run": f"trials/{number}", "why": "", "weights": {"sha256": "", "bytes": 0}}
        write_json(sweep.best.path / "best.json", about)
        assert (follower.poll(), follower.poll()) == (True, False)
        assert {key for what, key in memory.calls} == {f"trials/{number}" for number in again}
        assert [memory.infos[f"trials/{n}"].is_best() for n in range(3)] == [n == number for n in range(3)]


def test_a_failing_tracker_does_not_stop_the_other_and_is_tried_again(sweep, clock):
    for number in range(4):
        sweep.add(sweep.trial(number), range(1, 3), "complete")
    broken, good = Memory(), Memory()
    broken.down = True
    follower = Follower(sweep, [broken, good], "p")
    assert follower.poll()
    assert len(good.ended) == 4
    assert broken.calls == [("start", "trials/0"), ("start", "trials/1")]  # two in a row: it is paused
    assert not follower.poll()
    assert set(follower.undelivered()) == {"trials/0", "trials/1"}
    assert "Memory trials/0: RuntimeError: no start" in (sweep.path / "tracking.log").read_text()
    broken.down = False
    clock[0] += delivery.RETRY_SECONDS + 1
    assert follower.poll()
    assert broken.rows == good.rows
    assert follower.undelivered() == {}


def test_an_error_in_the_middle_replays_the_run(sweep, clock):
    sweep.add(sweep.trial(0), range(1, 3))
    memory = Memory()
    follower = Follower(sweep, [memory], "p")
    follower.poll()
    memory.bad = {"trials/0"}
    sweep.add(sweep.trial(0), range(3, 5))
    sweep.add(sweep.trial(1), range(1, 3))
    assert follower.poll()  # the other run continues
    assert [row["epoch"] for row in memory.rows["trials/1"]] == [1, 2]
    memory.bad = set()
    assert not follower.poll()  # not before its time
    clock[0] += delivery.RETRY_SECONDS + 1
    assert follower.poll()
    assert [row["epoch"] for row in memory.rows["trials/0"]] == [1, 2, 3, 4]


def test_refused_runs_are_asked_ever_more_rarely(sweep, clock):
    sweep.add(sweep.trial(0), range(1, 2))
    memory = Memory()
    memory.bad = {"trials/0"}
    follower = Follower(sweep, [memory], "p")
    for _ in range(3600):
        clock[0] += 1
        follower.poll()
    assert 8 <= len(memory.calls) <= 14  # 10 s, 20 s, ... 600 s


def test_close_ends_open_runs_as_unfinished(sweep):
    sweep.add(sweep.trial(0), range(1, 3))
    sweep.add(sweep.trial(1), range(1, 3), "complete")
    memory = Memory()
    follower = Follower(sweep, [memory], "p")
    follower.poll()
    follower.close()
    assert memory.ended == {"trials/0": None, "trials/1": "complete"}
    assert memory.calls[-1] == ("close",)


def test_a_broken_config_is_noted_and_left_out(sweep):
    sweep.add(sweep.trial(0), range(1, 3))
    sweep.add(sweep.trial(1), range(1, 3))
    (sweep.trial(0).path / "config.yaml").write_text("[not, a, mapping]")
    memory = Memory()
    follower = Follower(sweep, [memory], "p")
    follower.poll()
    follower.poll()
    assert list(memory.rows) == ["trials/1"]
    assert (sweep.path / "tracking.log").read_text().count("trials/0 is left out") == 1


def test_files_that_did_not_change_are_not_read_again(sweep, monkeypatch):
    for number in range(20):
        sweep.add(sweep.trial(number), range(1, 3), "complete" if number else None)
    follower = Follower(sweep, [Memory(), Memory()], "p")
    follower.poll()
    reads: list[tuple[str, int]] = []
    original = delivery.read_lines_from
    monkeypatch.setattr(
        delivery,
        "read_lines_from",
        lambda path, offset, fits: reads.append((path, offset)) or original(path, offset, fits),
    )
    for _ in range(5):
        assert not follower.poll()
    assert reads == []
    size = sweep.trial(0).metrics_path.stat().st_size
    sweep.add(sweep.trial(0), range(3, 4))
    follower.poll()
    assert reads == [(sweep.trial(0).metrics_path, size)] * 2  # from where it stopped, once for each tracker


def test_what_a_pass_costs_does_not_grow_with_the_ended_runs(sweep, monkeypatch):
    for number in range(30):
        sweep.add(sweep.trial(number), range(1, 3), "complete" if number else None)
    memory = Memory()
    follower = Follower(sweep, [memory], "p")
    yamls: list[Any] = []
    monkeypatch.setattr(folders, "read_yaml", lambda path: yamls.append(path) or read_yaml(path))
    follower.poll(recheck=False)
    assert len(yamls) == 30  # each config once, and sweep.yaml not with each of them
    looks: list[str] = []
    stat = delivery.stat_file
    monkeypatch.setattr(delivery, "stat_file", lambda path: looks.append(path) or stat(path))
    sweep.add(sweep.trial(5), range(3, 4))  # as a confirm run gets its score
    follower.poll(recheck=False)
    assert len(looks) == 2  # both files of the one that runs
    sweep.add(sweep.trial(0), range(3, 4), "complete")
    sweep.add(sweep.trial(30), range(1, 3))
    assert follower.poll(recheck=False)
    assert follower.ended_runs == 30
    assert len(memory.rows["trials/5"]) == 2
    follower.poll()
    assert memory.rows == {f"trials/{n}": sweep.trial(n).records() for n in range(31)}


def test_an_empty_or_missing_sweep_folder(sweep):
    follower = Follower(sweep, [Memory()], "p")
    assert not follower.poll()
    sweep.path.joinpath("sweep.yaml").unlink()
    sweep.path.rmdir()
    assert not follower.poll()


def test_names_of_trackers(sweep):
    with pytest.raises(UserError, match="did you mean 'wandb'"):
        TRACKERS["wandbb"]
    assert TRACKERS["wandb"].open(sweep, "off") == []


def test_without_tensorboardx_the_remedy_is_named(sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UserError, match=r"pip install 'hwcls\[tensorboard\]'"):
        TRACKERS["tensorboard"].open(sweep, "off")


def test_following_imports_no_logger():
    heavy = "{'wandb', 'tensorboardX', 'torch', 'ray'}"
    code = f"import sys, hwcls.tracking.follower; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_paused_run_is_closed_and_goes_on(sweep):
    """It waits at a rung, perhaps for hours, and is then the same run with its first epochs."""
    memory = Memory()
    follower = Follower(sweep, [memory], "p")
    trial = sweep.add(sweep.trial(0), range(1, 3))
    trial.pause(Result("stopped", None, None, {}, 0.0))
    follower.poll(recheck=False)
    assert memory.ended == {"trials/0": None}
    assert [line["epoch"] for line in memory.rows["trials/0"]] == [1, 2]  # none waits for an end that may not come
    calls = len(memory.calls)
    assert not follower.poll(recheck=False)
    trial.resume()
    assert not follower.poll(recheck=False)  # it stays closed until there is something to tell
    assert len(memory.calls) == calls
    sweep.add(trial, range(3, 5), "complete")
    follower.poll(recheck=False)
    assert memory.ended == {"trials/0": "complete"}
    assert [line["epoch"] for line in memory.rows["trials/0"]] == [1, 2, 3, 4]
    follower.close()
    assert memory.ended == {"trials/0": "complete"}


def test_a_run_that_ends_where_it_paused(sweep):
    memory = Memory()
    follower = Follower(sweep, [memory], "p")
    trial = sweep.add(sweep.trial(0), range(1, 3))
    trial.pause(Result("stopped", None, None, {}, 0.0))
    follower.poll()
    sweep.add(trial, range(0), "stopped")
    follower.poll()
    assert memory.ended == {"trials/0": "stopped"}
    assert [line["epoch"] for line in memory.rows["trials/0"]] == [1, 2]


def test_of_many_paused_runs_some_are_looked_at_in_a_pass(sweep, monkeypatch):
    """A run that continues is seen when it is its turn; to look at thousands each time would take long."""
    monkeypatch.setattr(follower_module, "PAUSED_LOOKS", 4)
    memory = Memory()
    follower = Follower(sweep, [memory], "p")
    for number in range(10):
        sweep.add(sweep.trial(number), range(1, 3)).pause(Result("stopped", None, None, {}, 0.0))
    follower.poll(recheck=False)
    assert len(memory.ended) == 10
    looks, refresh = [], delivery.WatchedRun.refresh
    monkeypatch.setattr(delivery.WatchedRun, "refresh", lambda run: looks.append(run.info.key) or refresh(run))
    sweep.trial(9).resume()
    sweep.add(sweep.trial(9), range(3, 5), "complete")
    for _ in range(2):
        assert not follower.poll(recheck=False)
    assert looks == [f"trials/{number}" for number in range(8)]
    assert follower.poll(recheck=False)
    assert looks[8:] == ["trials/8", "trials/9", "trials/0", "trials/1"]
    assert memory.ended["trials/9"] == "complete"
    assert follower.ended_runs == 1
    follower.poll()  # at the end all are looked at
    assert len(looks) == 12 + 10


def test_a_trial_is_delivered_again_when_it_is_on_the_front_of_several_metrics(sweep):
    metric = {"name": "val/accuracy", "goal": "maximize", "costs": ["cost/latency"]}
    write_yaml(sweep.path / "sweep.yaml", {"metric": metric})
    for number in range(3):
        sweep.add(sweep.trial(number), range(1, 3), "complete")
    memory = Memory()
    follower = Follower(sweep, [memory], "p")
    assert (follower.poll(), follower.poll()) == (True, False)
    assert [memory.infos[f"trials/{n}"].on_front() for n in range(3)] == [False] * 3
    memory.calls.clear()
    write_json(sweep.front_path, [1])
    assert (follower.poll(), follower.poll()) == (True, False)
    assert {key for what, key in memory.calls} == {"trials/1"}
    assert [memory.infos[f"trials/{n}"].on_front() for n in range(3)] == [False, True, False]


def test_without_several_metrics_nothing_is_said_of_a_front(sweep):
    sweep.add(sweep.trial(0), range(1, 3), "complete")
    memory = Memory()
    Follower(sweep, [memory], "p").poll()
    assert memory.infos["trials/0"].on_front() is None
