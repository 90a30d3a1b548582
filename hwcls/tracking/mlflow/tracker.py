"""MlflowTracker: one MLflow run per trial, in the experiment of the sweep."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from hwcls.tracking.cursor import Cursor
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.mlflow.place import Place, plain_errors
from hwcls.tracking.mlflow.run import MlflowRun, find_epochs, run_tags
from hwcls.tracking.mlflow.store import IDENTITY, Store, open_cursor
from hwcls.tracking.records import Result
from hwcls.tracking.tracker import RunInfo

SWEEP = "sweep"  # key in the cursor of the sweep's own run, which has its page


class MlflowTracker:
    """Writes one MLflow run per trial; its id is kept in the cursor in <sweep>/mlflow/.

    A resumed run is the same run, and gets the epochs that it does not have. MLflow is imported and the server is
    asked when there is something to deliver; each request has a time limit, and an error is for Delivery to retry.
    """

    problem: str | None = None

    def __init__(self, sweep: SweepFolder, place: Place) -> None:
        self._sweep, self.place = sweep, place
        self._store: Store | None = None
        self._answers = True  # whether MLflow did what it was last asked for
        self._open: dict[str, MlflowRun] = {}  # by run key; none for a run that was delivered before
        self.finished_runs = 0  # runs that this tracker delivered to their end

    def start(self, run: RunInfo) -> None:
        self._open.pop(run.key, None)
        with plain_errors(self.place):
            is_delivered = self._cursor.is_delivered(run) and self._cursor.get(run.key).get("tags") == run_tags(run)
        if is_delivered:
            return
        with self._talking():
            self._cursor.update(run.key, status=None)
            began = self._began(run.key, run.folder.path / "config.yaml")
            known = self._known_run(run.key)
            tags = run_tags(run)
            run_id = known or self._create(run.key, run.name, began, {**tags, "state": "running"})
            epochs = find_epochs(self._client, run_id, run) if known else set()
            opened = MlflowRun(self._client, run_id, run, began, epochs)
            if not self._cursor.get(run.key).get("id"):
                opened.log_params()
                self._cursor.update(run.key, id=run_id)
            if known:
                opened.set_state("running", tags)
            self._open[run.key] = opened

    def log(self, run: RunInfo, line: dict[str, Any], *, last: bool = False) -> None:
        if opened := self._open.get(run.key):
            with self._talking():
                opened.log(line)

    def finish(self, run: RunInfo, result: Result | None) -> None:
        opened = self._open.pop(run.key, None)
        if opened is None:
            return
        with self._talking():
            opened.flush()
            if result is None:
                opened.set_state("paused" if run.folder.paused() else "unfinished", run_tags(run))
                return
            opened.log_result(result)
            tags = run_tags(run)
            opened.set_state(result.status, tags | ({"error": result.error} if result.error else {}))
            end = {"status": result.status, "lines": opened.lines}
            if self._cursor.get(run.key).get("files") != list(end.values()):
                opened.log_files()  # it may fail for ever, as without the package of a store of artifacts
            self._cursor.update(run.key, **end, tags=tags, files=list(end.values()))
        self.finished_runs += 1

    def close(self) -> None:
        """Upload the sweep's page if it has changed, unless the server does not answer."""
        self._open.clear()
        page = self._sweep.path / "report.html"
        if self._answers and page.is_file():
            with self._talking():
                self._log_page(page)

    def _log_page(self, page: Path) -> None:
        """Upload a page into the sweep's own run, unless MLflow has it as it is now."""
        digest = hashlib.blake2b(page.read_bytes(), digest_size=8).hexdigest()
        if self._cursor.get(SWEEP).get("page") == digest:
            return
        run_id = self._known_run(SWEEP)
        if run_id is None:
            tags = {"sweep": self._sweep.name, "kind": SWEEP, "state": "complete"}
            run_id = self._create(SWEEP, self._sweep.name, self._began(SWEEP, page), tags)
        self._client.log_artifact(run_id, str(page))
        self._client.set_terminated(run_id)
        self._cursor.update(SWEEP, id=run_id, page=digest)

    @contextlib.contextmanager
    def _talking(self) -> Iterator[None]:
        """What is asked of MLflow: an error is one line."""
        self._answers = False
        with plain_errors(self.place):
            yield
        self._answers = True

    @cached_property
    def _cursor(self) -> Cursor:
        """Opened when it is needed: a database that is locked is then for Delivery to try again."""
        return open_cursor(self.place)

    @property
    def _client(self) -> Any:
        return self._connected().client

    def _connected(self) -> Store:
        if self._store is None:
            self._store = Store(self.place, self._sweep.name)
        return self._store

    def _began(self, key: str, file: Path) -> int:
        """When a run began, in ms: the time of a file, as it was when the run was first delivered."""
        return int(self._cursor.get(key).get("began") or file.stat().st_mtime * 1000)

    def _known_run(self, key: str) -> str | None:
        """The id of a run that was created before and is still there, also if that was not noted any more."""
        known = self._cursor.get(key)
        if run_id := known.get("id"):
            if self._connected().has_run(run_id):
                return str(run_id)
            self._cursor.update(key, id=None, began=None)  # a user has deleted it
            return None
        return self._connected().find_run(self._identity(key)) if known.get("began") else None

    def _create(self, key: str, name: str, began: int, tags: dict[str, str]) -> str:
        store = self._connected()
        self._cursor.update(key, began=began, files=None)
        return store.create_run(name, began, {**tags, IDENTITY: self._identity(key)})

    def _identity(self, key: str) -> str:
        return hashlib.blake2b(f"{self._cursor.identity}/{key}".encode(), digest_size=8).hexdigest()
