"""Synthetic sweeps, and a W&B server on the loopback that a real wandb client talks to."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hwcls.config.data import DataConfig
from hwcls.config.optim import AdamConfig
from hwcls.config.trial import TrialConfig
from hwcls.models.mlp import MlpConfig
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.tracking.log import log_tracking
from hwcls.tracking.mlflow import place, store
from hwcls.tracking.records import EpochRecord, Result
from tests.tracking.artifacts import Artifacts, Views

CREATE_DATABASE = store.create_database
KEY = "0123456789abcdef0123456789abcdef01234567"  # has the shape of a key, opens nothing


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: object) -> None:
        """A client that is gone is no error here."""


class Server:
    """Answers GraphQL and file_stream as W&B does, keeps what it got, and fails on request."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}  # by id: {"rows": [...], "summary": {...}, "config": ..., ...}
        self.status = 200  # of every answer
        self.delay = 0.0  # seconds before each
        self.bodies: list[str] = []
        self.files: list[str] = []  # that were put
        self.alerts: list[tuple[str, str, str]] = []  # title, text, severity
        self.stopped: set[str] = set()  # names of runs whose Stop button was pressed
        self._views = Views()
        self.unknown: list[str] = []
        self.key = KEY
        self._http = _Quiet(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self.artifacts = Artifacts(self.url)
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def views(self) -> dict[str, dict[str, Any]]:
        """Saved workspaces and reports by id."""
        return self._views.saved

    def logged(self, artifact: str) -> list[dict[str, Any]]:
        """The versions of an artifact, in order."""
        return [version for version in self.artifacts.versions if version["name"] == artifact]

    def epochs(self) -> dict[str, list[int]]:
        """The epochs in each run's history, by the run's name, in the order of arrival."""
        return {run["name"]: [row["epoch"] for row in run["rows"]] for run in self.runs.values()}

    def graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        name = (re.search(r"(?:query|mutation)\s+(\w+)", query) or ["", ""])[1]
        viewer = {"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}, "apiKeys": None}
        if name == "UpsertBucket":
            run = self.runs.setdefault(variables["name"], {"rows": [], "summary": {}, "config": {}, "state": "running"})
            run["upserts"] = [*run.get("upserts", []), variables]
            given = {"name": variables["displayName"], "group": variables["groupName"], "kind": variables["jobType"]}
            run |= {key: value for key, value in given.items() if value} | {"state": "running"}
            if variables.get("config"):
                run["config"] |= json.loads(variables["config"])
            project = {"id": "p", "name": variables["project"], "entity": {"id": "e", "name": "me"}}
            bucket = {"id": variables["name"], "name": variables["name"], "displayName": run["name"]}
            bucket |= {"description": None, "config": None, "sweepName": None, "historyLineCount": len(run["rows"])}
            return {"upsertBucket": {"bucket": bucket | {"project": project}, "inserted": len(run["upserts"]) == 1}}
        if name == "RunResumeStatus":
            return {"model": {"id": "p", "name": variables["project"], "entity": {"id": "e", "name": "me"},
                              "bucket": self._resume(variables["name"])}}  # fmt: skip
        if name == "CreateRunFiles":
            files = [{"name": file, "uploadUrl": f"{self.url}/put/{file}"} for file in variables["files"]]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
        if name == "ServerFeaturesQuery":
            return {"serverInfo": {"features": []}}
        if name == "NotifyScriptableRunAlert":
            self.alerts.append((variables["title"], variables["text"], variables["severity"]))
            return {"notifyScriptableRunAlert": {"success": True}}
        for part in (self.artifacts, self._views):
            if (answer := part.answer(name, variables)) is not None:
                return answer
        if name not in ("Viewer", "ServerInfo", "GetDefaultEntity"):
            self.unknown.append(f"{name} {json.dumps(variables)[:600]} {query[:600]}")
        return {"viewer": viewer, "serverInfo": {"cliVersionInfo": {}, "latestLocalVersionInfo": None}}

    def stream(self, run_id: str, body: dict[str, Any]) -> None:
        run, files = self.runs[run_id], body.get("files") or {}
        if history := files.get("wandb-history.jsonl"):
            rows = [json.loads(line) for line in history["content"]]
            run["rows"][history["offset"] :] = rows
        if summary := files.get("wandb-summary.json"):
            run["summary"] = json.loads(summary["content"][-1])
        if body.get("complete"):
            run["state"] = "finished" if body.get("exitcode") == 0 else "failed"

    def _resume(self, run_id: str) -> dict[str, Any] | None:
        if not (run := self.runs.get(run_id)):
            return None
        return {
            "id": run_id, "name": run_id, "summaryMetrics": json.dumps(run["summary"]), "displayName": run["name"],
            "logLineCount": 0, "historyLineCount": len(run["rows"]), "eventsLineCount": 0,
            "historyTail": json.dumps([json.dumps(row) for row in run["rows"][-1:]]), "eventsTail": "[]",
            "config": json.dumps(run["config"]), "tags": [], "notes": None, "wandbConfig": json.dumps({"t": 1}),
        }  # fmt: skip

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode(errors="replace")
                time.sleep(server.delay)
                server.bodies.append(f"{self.path} {body}")
                if self.command == "PUT":
                    server.files.append(self.path.removeprefix("/put/"))
                answer: dict[str, Any] = {}
                if server.status == 200 and self.path.startswith("/graphql"):
                    request = json.loads(body)
                    answer = {"data": server.graphql(request["query"], request.get("variables") or {})}
                elif server.status == 200 and self.path.endswith("/file_stream"):
                    run_id = self.path.split("/")[-2]
                    server.stream(run_id, json.loads(body))
                    answer = {"stopped": server.runs[run_id]["name"] in server.stopped}
                content = json.dumps(answer).encode()
                self.send_response(server.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_PUT = do_GET = do_POST

            def log_message(self, *args: object) -> None:
                pass

        return Handler


class Sweep(SweepFolder):
    """A sweep's folder that tests fill."""

    def add(self, folder: TrialFolder, epochs: range, status: str | None = None, label: str = "small") -> TrialFolder:
        """Append epochs to a run and, with a status, end it; its config is written first."""
        if not (folder.path / "config.yaml").exists():
            model, seed = MlpConfig(label=label), int(folder.path.name)
            folder.write_config(
                TrialConfig(data=DataConfig(name="digits"), model=model, optimizer=AdamConfig(), seed=seed)
            )
        for epoch in epochs:
            accuracy = (int(folder.path.name) + epoch) / 100
            metrics = {"train/loss": 1 / epoch, "val/accuracy": accuracy, "val/loss": math.nan if epoch == 2 else 0.5}
            folder.append(EpochRecord(epoch, metrics, 0.1, 1.0, 100.0).to_dict())
        if status:
            best = max((line for line in folder.records() if "epoch" in line), key=lambda line: line["val/accuracy"])
            best = {"epoch": best["epoch"], "val/accuracy": best["val/accuracy"]}
            folder.write_result(Result(status, best, label, {"lr": 1e-3}, 4.0))
        return folder


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Sweep]:
    """A sweep's folder; what is logged goes to its tracking.log."""
    folder = Sweep(tmp_path / "results" / "demo")
    folder.path.mkdir(parents=True)
    (folder.path / "sweep.yaml").write_text("name: demo\ncompare: model\n")
    with log_tracking(folder):
        yield folder


@pytest.fixture(autouse=True)
def _no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No W&B credentials of whoever runs the tests, no trace in their home, and no service left over."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "NETRC", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(home / "netrc" if name == "NETRC" else home))
    yield
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of MLflow's: to make one takes a second."""
    place.prepare()
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    CREATE_DATABASE(path)
    return path


@pytest.fixture(autouse=True)
def _no_mlflow_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No server of whoever runs the tests; what is set for MLflow is taken back; databases are copies of one."""
    before = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
    for name in before:
        del os.environ[name]

    def copy_database(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(request.getfixturevalue("mlflow_database"), path)

    monkeypatch.setattr(store, "create_database", copy_database)
    yield
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A W&B server, and credentials for it."""
    double = Server()
    monkeypatch.setenv("WANDB_BASE_URL", double.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    yield double
    double.close()
