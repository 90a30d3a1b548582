"""MLflow's runs in the database of a sweep: what they are called, and that each is there once."""

from __future__ import annotations

import pytest

from hwcls.config.sweep import TRACKERS
from hwcls.files import write_json
from hwcls.tracking.cursor import Cursor
from hwcls.tracking.follower import Follower
from hwcls.tracking.left_out import exclude, include
from hwcls.tracking.mlflow.place import find_place
from hwcls.tracking.mlflow.run import MAX_METRICS
from hwcls.tracking.mlflow.store import Store
from tests.tracking.readers import reader_of
from tests.tracking.test_trackers import check_rows, deliver

pytestmark = pytest.mark.slow
pytest.importorskip("mlflow", reason="pip install 'hwcls[mlflow]'")


def find_runs(sweep):
    """All runs of the sweep's experiment, by name."""
    store = Store(find_place(sweep), "demo")
    runs = store.client.search_runs([store.experiment])
    names = [run.info.run_name for run in runs]
    assert len(names) == len(set(names))
    return {run.info.run_name: run for run in runs}


def test_a_run_whose_id_was_not_noted_is_found_again(sweep):
    """As after a kill between its creation and the cursor."""
    sweep.add(sweep.trial(0), range(1, 3))
    deliver(sweep, "mlflow")
    Cursor(find_place(sweep).cursor).update("trials/0", id=None)
    sweep.add(sweep.trial(0), range(3, 4), "complete")
    deliver(sweep, "mlflow")
    assert list(find_runs(sweep)) == ["small-0"]
    check_rows(reader_of("mlflow"), sweep, "trials/0")


def test_points_that_are_sent_again_are_the_same_points(sweep, monkeypatch):
    """As after an answer that got lost: MLflow has an epoch, and is not asked whether it has."""
    monkeypatch.setattr("hwcls.tracking.mlflow.tracker.find_epochs", lambda *rest: set())
    sweep.add(sweep.trial(0), range(1, 4))
    deliver(sweep, "mlflow")
    sweep.add(sweep.trial(0), range(4, 5), "complete")
    deliver(sweep, "mlflow")
    check_rows(reader_of("mlflow"), sweep, "trials/0")


def test_a_run_has_ended_although_its_files_cannot_be_uploaded(sweep, monkeypatch):
    """As without the package of a store of artifacts."""
    from mlflow import MlflowClient

    def refuse(*rest):
        raise ModuleNotFoundError("No module named 'boto3'")

    monkeypatch.setattr(MlflowClient, "log_artifact", refuse)
    sweep.add(sweep.trial(0), range(1, 3), "complete")
    (sweep.trial(0).path / "best.safetensors").write_bytes(b"weights")
    (sweep.path / "report.html").write_text("page")
    follower = Follower(sweep, TRACKERS["mlflow"].open(sweep, "auto"), "p", artifacts=True)
    while follower.poll():
        pass
    run = find_runs(sweep)["small-0"]
    assert (run.info.status, run.data.tags["state"]) == ("FINISHED", "complete")
    assert "boto3" in follower.undelivered()["trials/0"]
    follower.close()
    assert "trials/0" in follower.undelivered()


def test_a_page_that_cannot_be_uploaded_is_known_after_the_end(sweep, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setattr(MlflowClient, "log_artifact", lambda *rest: 1 / 0)
    sweep.add(sweep.trial(0), range(1, 3), "complete")
    (sweep.path / "report.html").write_text("page")
    follower = Follower(sweep, TRACKERS["mlflow"].open(sweep, "auto"), "p")
    while follower.poll():
        pass
    assert follower.undelivered() == {}
    follower.close()
    assert "division by zero" in follower.undelivered()["the end of the sweep"]


def test_the_page_is_in_a_run_of_its_own(sweep):
    sweep.add(sweep.trial(0), range(1, 3), "complete")
    for text in ("first", "first", "second"):
        (sweep.path / "report.html").write_text(text)
        deliver(sweep, "mlflow")
    runs = find_runs(sweep)
    assert sorted(runs) == ["demo", "small-0"]
    assert runs["demo"].data.tags["kind"] == "sweep"
    assert [path.read_text() for path in sweep.path.glob("mlflow/artifacts/*/artifacts/report.html")] == ["second"]


def test_a_deleted_run_is_made_again(sweep):
    sweep.add(sweep.trial(0), range(1, 3))
    deliver(sweep, "mlflow")
    store = Store(find_place(sweep), "demo")
    store.client.delete_run(find_runs(sweep)["small-0"].info.run_id)
    sweep.add(sweep.trial(0), range(3, 4), "complete")
    deliver(sweep, "mlflow")
    check_rows(reader_of("mlflow"), sweep, "trials/0")
    assert list(find_runs(sweep)) == ["small-0"]


def test_many_epochs_take_few_requests(sweep, monkeypatch):
    from mlflow import MlflowClient

    sizes, log_batch = [], MlflowClient.log_batch

    def count(self, run_id, metrics=(), **more):
        sizes.append(len(metrics))
        return log_batch(self, run_id, metrics=metrics, **more)

    monkeypatch.setattr(MlflowClient, "log_batch", count)
    sweep.add(sweep.trial(0), range(1, 401), "complete")
    deliver(sweep, "mlflow")
    assert max(sizes) <= MAX_METRICS
    assert len([size for size in sizes if size]) <= 5
    check_rows(reader_of("mlflow"), sweep, "trials/0")


def test_tags_follow_what_a_run_is(sweep):
    """Also of a run that was delivered before: the best one changes, and trials are excluded and included."""
    for number in range(2):
        sweep.add(sweep.trial(number), range(1, 3), "complete")
    seen = []
    for best, excluded in ((1, False), (0, True), (0, False)):
        about = {"run": f"trials/{best}", "why": "", "weights": {"sha256": "", "bytes": 0}}
        write_json(sweep.best.path / "best.json", about)
        (exclude(sweep.trial(1).path, "faulty") if excluded else include(sweep.trial(1).path))
        deliver(sweep, "mlflow")
        tags = [run.data.tags for _, run in sorted(find_runs(sweep).items())]
        seen.append([(tag["best"], tag["left_out"]) for tag in tags])
    assert seen == [
        [("false", "false"), ("true", "false")],
        [("true", "false"), ("false", "true")],
        [("true", "false"), ("false", "false")],
    ]
    assert tags[0].items() >= {"sweep": "demo", "project": "p", "alternative": "small", "trial": "0"}.items()
    check_rows(reader_of("mlflow"), sweep, "trials/1")


def test_states_are_mlflows_words(sweep):
    for number, status in enumerate(("complete", "stopped", "failed", "stopped_by_user", None, None)):
        sweep.add(sweep.trial(number), range(1, 3), status)
    sweep.trial(5).pause(sweep.trial(0).result())
    follower = Follower(sweep, TRACKERS["mlflow"].open(sweep, "auto"), "p")
    follower.poll()
    assert find_runs(sweep)["small-4"].info.status == "RUNNING"
    follower.close()
    found = [(run.data.tags["state"], run.info.status) for _, run in sorted(find_runs(sweep).items())]
    assert found == [
        *(("complete", "FINISHED"), ("stopped", "FINISHED"), ("failed", "FAILED"), ("stopped_by_user", "KILLED")),
        *(("unfinished", "KILLED"), ("paused", "SCHEDULED")),
    ]
