"""MLflow's own server on the loopback, as `mlflow server` starts it, in a process that is killed and stopped."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import time
import urllib.request
import warnings

import pytest

from hwcls.config.sweep import TRACKERS
from hwcls.errors import UserError
from hwcls.tracking import delivery
from hwcls.tracking.follower import Follower
from hwcls.tracking.log import read_problems
from tests.tracking.readers import reader_of
from tests.tracking.test_trackers import MEDIA, check_rows

pytestmark = pytest.mark.slow
pytest.importorskip("mlflow", reason="pip install 'hwcls[mlflow]'")
pytest.importorskip("flask", reason="mlflow's server needs Flask: pip install 'hwcls[test]'")

PASSWORD = "hunter2-of-nobody"


def _serve(port, database, artifacts):
    """Run the application of `mlflow server`; forked, as MLflow takes seconds to import."""
    warnings.simplefilter("ignore")
    settings = {"FILE_STORE": f"sqlite:///{database}", "ARTIFACT_ROOT": "mlflow-artifacts:/"}
    settings |= {"ARTIFACT_DESTINATION": str(artifacts), "SERVE_ARTIFACTS": "true"}
    os.environ.update({f"_MLFLOW_SERVER_{name}": value for name, value in settings.items()})
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    import uvicorn

    uvicorn.run("mlflow.server.fastapi_app:app", host="127.0.0.1", port=port, log_level="critical")


class MlflowServer:
    """A server with a database of its own, which may be killed and started again."""

    def __init__(self, folder, database):
        self.database, self.artifacts = folder / "server.db", folder / "artifacts"
        shutil.copy(database, self.database)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        arguments = (self.port, self.database, self.artifacts)
        self.process = multiprocessing.get_context("fork").Process(target=_serve, args=arguments, daemon=True)
        self.process.start()
        self.wait()

    def wait(self):
        """Wait until it answers."""
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return
            except OSError:
                assert self.process.is_alive()
                time.sleep(0.1)
        raise AssertionError("the server did not start")

    def kill(self):
        self.process.kill()
        self.process.join()

    def signal(self, number):
        os.kill(self.process.pid, number)


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory, mlflow_database):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.server.fastapi_app  # noqa: F401  (once, before the process is forked)
    server = MlflowServer(tmp_path_factory.mktemp("server"), mlflow_database)
    yield server
    server.kill()


@pytest.fixture
def follower(sweep, mlflow_server, monkeypatch):
    """Follows the sweep to the server, whose address has a password; what fails is tried again at once."""
    monkeypatch.setattr(delivery, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(delivery, "PAUSE_SECONDS", 0.0)
    os.environ["MLFLOW_TRACKING_URI"] = mlflow_server.url.replace("//", f"//me:{PASSWORD}@")
    (tracker,) = TRACKERS["mlflow"].open(sweep, "auto")
    return Follower(sweep, [tracker], "p", lambda folder: MEDIA, artifacts=True)


def drain(follower):
    while follower.poll():
        pass


def test_a_server_that_dies_and_comes_back_has_everything_once(sweep, follower, mlflow_server):
    sweep.add(sweep.trial(0), range(1, 4))
    weights = sweep.add(sweep.trial(1), range(1, 4), "failed").path / "best.safetensors"
    weights.write_bytes(b"weights")
    sweep.confirm_run("small", 7).write_purpose({"trial": 1, "role": "report"})
    drain(follower)
    mlflow_server.kill()
    sweep.add(sweep.trial(0), range(4, 6))
    sweep.add(sweep.confirm_run("small", 7), range(1, 3), "complete")
    begun = time.monotonic()
    follower.poll()
    assert time.monotonic() - begun < 2.0
    assert set(follower.undelivered().values()) == {
        f"ConnectionError: MLflow at {mlflow_server.url} refuses the connection"
    }
    mlflow_server.start()
    sweep.add(sweep.trial(0), range(6, 7), "stopped")
    drain(follower)
    assert follower.undelivered() == {}
    (sweep.path / "report.html").write_text("<p>the page</p>")
    follower.close()

    sink = reader_of("mlflow")
    for key in ("trials/0", "trials/1", "confirm/small/7"):
        check_rows(sink, sweep, key)
    client, _ = sink._open(sweep, "trials/0")
    (experiment,) = [one for one in client.search_experiments() if one.name == "demo"]
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert {name: (run.data.tags["kind"], run.data.tags["state"], run.info.status) for name, run in runs.items()} == {
        "small-0": ("trial", "stopped", "FINISHED"),
        "small-1": ("trial", "failed", "FAILED"),
        "small-7": ("confirm", "complete", "FINISHED"),
        "demo": ("sweep", "complete", "FINISHED"),
    }
    assert {"role": "report", "trial": "1"}.items() <= runs["small-7"].data.tags.items()
    assert runs["small-1"].data.params["optimizer"] == "adam"
    files = {file.path for file in client.list_artifacts(runs["small-1"].info.run_id)}
    assert files == {"best.safetensors", "confusion.csv", "histograms.csv", "per_class.csv", "predictions.png"}
    assert [file.path for file in client.list_artifacts(runs["demo"].info.run_id)] == ["report.html"]
    kept = b"".join(path.read_bytes() for path in sweep.path.rglob("*") if path.is_file())
    assert b"refuses the connection" in kept
    assert PASSWORD.encode() not in kept


def test_a_server_that_hangs_holds_up_nothing_and_gets_the_rest_later(sweep, follower, mlflow_server, monkeypatch):
    from hwcls.tracking.mlflow.sync import sync_sweep

    sweep.add(sweep.trial(0), range(1, 3))
    drain(follower)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    mlflow_server.signal(signal.SIGSTOP)
    try:
        sweep.add(sweep.trial(0), range(3, 5), "complete")
        sweep.add(sweep.trial(1), range(1, 3), "complete")
        begun = time.monotonic()
        follower.poll()
        follower.close()
        assert time.monotonic() - begun < 6.0
        errors = follower.undelivered()
        assert errors["trials/0"] == f"ConnectionError: MLflow at {mlflow_server.url} gave no answer in 1 s"
        with pytest.raises(UserError, match="MLflow did not take every run"):
            sync_sweep(sweep, "p")
    finally:
        mlflow_server.signal(signal.SIGCONT)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    mlflow_server.wait()
    time.sleep(1.0)  # what it was asked for in the meantime is done now
    assert sync_sweep(sweep, "p") == (2, mlflow_server.url)
    for number in (0, 1):
        check_rows(reader_of("mlflow"), sweep, f"trials/{number}")
    assert sync_sweep(sweep, "p") == (0, mlflow_server.url)
    assert read_problems(sweep) == []
