"""The group of a trial without Ray: what it reports of failed builds, of epochs, and after memory ran out."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from hwcls.config.space import Fixed
from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.run import trial_group
from hwcls.sweep.run.trial_group import RecordBuffer, WarmGroup
from hwcls.sweep.run.worker import RankEpoch
from hwcls.sweep.search.messages import Job, report_in
from hwcls.sweep.storage.checkpoint_store import read_place
from hwcls.training.errors import MemoryRanOutError

METRIC = "val/accuracy"


def record(epoch, value):
    return {"epoch": epoch, METRIC: value}


class Ranks:
    """One rank that answers from a script: each `epoch` returns or raises the next entry."""

    all_local = first_is_local = True

    def __init__(self, script):
        self.script, self.built, self.restarts = list(script), [], 0
        self.saved, self.written = [], True  # what was asked to be saved; whether a save is done after an epoch

    def draining(self):
        return False

    def call(self, method, *arguments):
        if method == "prepare":
            return [{"data": 0.2}]
        if method == "build":
            self.built.append(arguments[1])  # the micro-batch
            return [0.1]
        assert method == "epoch"
        found = self.script.pop(0)
        if isinstance(found, Exception):
            raise found
        return [RankEpoch(found, 8, {})]

    def restart(self):
        self.restarts += 1

    def call_first(self, method, *arguments):
        if method == "begin_save":
            self.saved.append(arguments[0])
            return None
        (wait,) = arguments
        return {} if wait or self.written else None


@pytest.fixture
def group(tiny):
    def build(script, ranks=Ranks, workers=1, **job):
        found = WarmGroup.__new__(WarmGroup)  # without Tune and without Ray
        found.ranks, found.store, found.note = ranks(script), "", ""
        config = tiny().trial(Fixed({"epochs": 9}) if job else Fixed({}))
        found.next_job = Job("trials/0", "mlp", {}, config, Resources(workers, 1, 0.0, 1), "best", 60.0, **job)
        return found

    return build


def test_a_model_that_cannot_be_built_ends_the_trial_and_costs_its_alternative_time(group):
    class Broken(Ranks):
        def call(self, method, *arguments):
            raise UserError("the model failed")

    report = report_in(group([], Broken).step())
    assert (report.epoch, report.failure, report.done, report.value) == (0, "the model failed", True, None)
    assert report.seconds > 0
    assert report.records == ()


def test_features_that_all_trials_share_are_charged_to_none(group):
    """A node that joined later computes its own with its first trial."""

    class Late(Ranks):
        def call(self, method, *arguments):
            return [{"features": 1e6}] if method == "prepare" else super().call(method, *arguments)

    report = report_in(group([record(1, 0.2)], Late).step())
    assert report.seconds < -9e5  # without them
    assert report.phases["features"] == 1e6


def test_each_epoch_is_reported_once(group):
    found = group([record(1, 0.2), record(2, 0.5), record(3, 0.4)])
    reports = [report_in(found.step()) for _ in range(3)]
    assert [[line["epoch"] for line in report.records] for report in reports] == [[1], [2], [3]]
    assert [(report.value, report.best) for report in reports] == [(0.2, 0.2), (0.5, 0.5), (0.4, 0.5)]
    assert [report.done for report in reports] == [False, False, True]
    assert found.ranks.built == [None]


def test_where_memory_runs_out_the_epochs_so_far_are_trained_again_before_the_next_report(group):
    found = group([record(1, 0.2), MemoryRanOutError(4), record(1, 0.3), record(2, 0.6)])
    assert report_in(found.step()).epoch == 1
    report = report_in(found.step())
    assert (report.epoch, report.best) == (2, 0.6)
    assert found.ranks.built == [None, 4]
    assert found.ranks.restarts == 1
    assert found.ranks.script == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_user_ends_the_trial_and_frees_the_ranks_that_wait_for_the_one_that_failed(group, workers):
    found = group([record(1, 0.2), UserError("the model ends the process")], workers=workers)
    assert report_in(found.step()).failure is None
    report = report_in(found.step())
    assert (report.epoch, report.failure, report.done) == (1, "the model ends the process", True)
    assert found.ranks.restarts == workers - 1  # one that is alone is as good as before
    assert report.saveable == (workers == 1)


def test_a_model_that_no_longer_fits_ends_the_trial_and_is_not_saved(group):
    """Memory has run out, and the new rank cannot build it again."""

    class Full(Ranks):
        def call(self, method, *arguments):
            if method == "build" and self.restarts:
                raise UserError("the model failed")
            return super().call(method, *arguments)

    found = group([record(1, 0.2), MemoryRanOutError(4)], Full)
    assert report_in(found.step()).saveable
    report = report_in(found.step())
    assert (report.epoch, report.failure, report.saveable) == (1, "the model failed", False)


def test_a_restored_trial_reports_the_epochs_of_its_checkpoint_once(tiny):
    buffer = RecordBuffer(tiny().config.metric)
    buffer.restore([record(1, 0.2), record(2, 0.1)])
    buffer.add(record(3, 0.15))
    report = buffer.report(5)
    assert [line["epoch"] for line in report.records] == [1, 2, 3]
    assert (report.value, report.best) == (0.15, 0.2)
    assert buffer.report(5).records == ()


def test_a_checkpoint_is_written_while_the_next_epoch_trains(group, tmp_path):
    """It is begun once the trial continues, and reported when it is complete; nothing is begun before."""
    found = group([record(epoch, 0.2) for epoch in (1, 2, 3, 4)], saved_in=str(tmp_path), save_every=0.0)
    assert report_in(found.step()).checkpoint == ""
    assert found.ranks.saved == []  # Tune may end the trial here
    found.ranks.written = False
    assert report_in(found.step()).checkpoint == ""
    found.ranks.written = True
    assert report_in(found.step()).checkpoint == f"{tmp_path}/checkpoint_000001"
    assert [request.folder for request in found.ranks.saved] == [f"{tmp_path}/checkpoint_000001"]  # one at a time
    assert report_in(found.step()).checkpoint == f"{tmp_path}/checkpoint_000003"


def test_no_checkpoint_is_begun_before_it_is_due(group, tmp_path):
    found = group([record(epoch, 0.2) for epoch in (1, 2, 3)], saved_in=str(tmp_path), save_every=600.0)
    for _ in range(3):
        found.step()
    assert found.ranks.saved == []


def test_what_tune_saves_is_the_place_of_a_complete_checkpoint(group, tmp_path):
    """The one that is being written comes first."""
    found = group([record(1, 0.2), record(2, 0.3)], saved_in=str(tmp_path / "saved"), save_every=0.0)
    found.ranks.written = False
    found.step(), found.step()
    (tmp_path / "tune").mkdir()
    found.save_checkpoint(str(tmp_path / "tune"))
    assert read_place(tmp_path / "tune") == tmp_path / "saved/checkpoint_000002"
    assert [Path(request.folder).name for request in found.ranks.saved] == ["checkpoint_000001", "checkpoint_000002"]
    assert read_place(tmp_path) == tmp_path  # of earlier versions, and of trainings that write there


def test_a_checkpoint_of_another_node_is_complete_or_not_there(group, tmp_path, monkeypatch):
    class Elsewhere(Ranks):
        first_is_local = False

        def call_first(self, method, *arguments):
            super().call_first(method, *arguments)
            return {"state.pt": b"state", "confusion/1.npz": b"counts"} if method == "saved" else None

    found = group([record(1, 0.2), record(2, 0.3)], Elsewhere, saved_in=str(tmp_path), save_every=0.0)
    found.step()
    folder = Path(report_in(found.step()).checkpoint)
    assert found.ranks.saved[0].folder is None
    assert (folder / "state.pt").read_bytes() == b"state"
    assert (folder / "confusion/1.npz").read_bytes() == b"counts"
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("here", [True, False])
@pytest.mark.parametrize("epoch_seconds", [0.7, 2.0, 4.0, 6.0, 9.0, 25.0])
def test_what_a_lost_machine_costs_is_at_most_ten_seconds_or_one_epoch(monkeypatch, tmp_path, here, epoch_seconds):
    """Whether rank 0 writes on this node, or on another one from which the files are fetched between two epochs."""
    clock, requests = SimpleNamespace(now=0.0), []
    monkeypatch.setattr(trial_group.time, "monotonic", lambda: clock.now)

    class Saving:
        first_is_local = here

        def call_first(self, method, *arguments):
            if method == "begin_save":
                requests.append(arguments[0])
                if here:
                    (Path(requests[-1].folder) / "state.pt").mkdir(parents=True)
                return None
            return {} if here else {"state.pt": b"state"}

    job = SimpleNamespace(saved_in=str(tmp_path), keep="best", save_every=10.0, name="trials-0", checkpoints=())
    checkpoints, ages = trial_group.TrialCheckpoints(Saving(), job, ""), []
    for epoch in range(1, 40):
        clock.now += epoch_seconds
        newest = checkpoints.found()[0][-6:] if checkpoints.found() else "0"
        ages.append((epoch - int(newest)) * epoch_seconds)  # if the machine is lost now
        checkpoints.collect()
        checkpoints.begin_if_due(epoch, epoch_seconds)
    assert max(ages) <= max(10.0, epoch_seconds)
    assert len(requests) <= 1 + 40 * epoch_seconds / max(epoch_seconds, 10.0 - 2 * epoch_seconds)


def test_what_was_waited_for_is_reported_once(group, tmp_path):
    class Elsewhere(Ranks):
        first_is_local = False

        def call_first(self, method, *arguments):
            super().call_first(method, *arguments)
            return {"state.pt": b"state"} if method == "saved" else None

    records = [record(epoch, 0.2) | {"seconds": 700.0} for epoch in (1, 2)]
    found = group(records, Elsewhere, saved_in=str(tmp_path), save_every=600.0)
    assert report_in(found.step()).checkpoint == ""
    assert report_in(found.step()).checkpoint == f"{tmp_path}/checkpoint_000001"
    assert found.checkpoints.collect() == ""


def test_a_restart_resumes_from_the_newest_complete_checkpoint_whether_it_was_reported_or_not(group, tmp_path):
    for name in ("checkpoint_000002", "checkpoint_000010", "checkpoint_000012.tmp", "checkpoint_000011"):
        (tmp_path / "own" / name).mkdir(parents=True)
        (tmp_path / "own" / name / ("best.safetensors" if name.endswith("11") else "state.pt")).touch()
    loaded = []

    class Resumed(Ranks):
        def call(self, method, *arguments):
            if method != "load":
                return super().call(method, *arguments)
            loaded.append(arguments[0])
            if len(loaded) < 3:
                raise OSError("truncated")
            return [[record(1, 0.1)]]

    own = [str(tmp_path / "own/checkpoint_000010"), str(tmp_path / "own/checkpoint_000002")]
    earlier = (f"{tmp_path}/own/../own/checkpoint_000010", str(tmp_path / "earlier"))
    found = group([record(2, 0.2)], Resumed, saved_in=str(tmp_path / "own"), checkpoints=earlier)
    assert report_in(found.step()).epoch == 2
    assert loaded == [*own, str(tmp_path / "earlier")]
