"""Store: the experiment of one sweep, in a database or on a server."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sqlite3
from pathlib import Path

from hwcls.tracking.cursor import Cursor
from hwcls.tracking.mlflow.place import Place, prepare

IDENTITY = "hwcls.run"  # tag: the same for a run whatever its id is
DAMAGE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


class Store:
    """MLflow's client for a sweep's experiment, which is created if need be."""

    def __init__(self, place: Place, experiment: str) -> None:
        prepare()
        from mlflow import MlflowClient

        if place.database is not None and not place.database.exists():
            create_database(place.database)
        self.client = MlflowClient(place.uri)
        found = self.client.get_experiment_by_name(experiment)
        if found is None:
            self.experiment = self.client.create_experiment(experiment, place.artifacts(experiment))
        else:
            self.experiment = found.experiment_id

    def create_run(self, name: str, began: int, tags: dict[str, str]) -> str:
        """Create a run that began at `began`, in ms; returns its id."""
        return str(self.client.create_run(self.experiment, began, tags, name).info.run_id)

    def find_run(self, identity: str) -> str | None:
        """The id of the run that has this identity, None where there is none."""
        found = self.client.search_runs([self.experiment], f"tags.`{IDENTITY}` = '{identity}'", max_results=1)
        return str(found[0].info.run_id) if found else None

    def has_run(self, run_id: str) -> bool:
        """Whether the run is there; a user may have deleted it."""
        from mlflow.exceptions import MlflowException

        try:
            return bool(self.client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise


def open_cursor(place: Place) -> Cursor:
    """The cursor of a place; of the sweep's own database a new one if that was damaged, deleted or moved.

    Such a database is deleted, as MLflow keeps the absolute paths of artifacts, and everything is delivered again.
    Raises sqlite3.Error or OSError where it cannot be read now, as another process has locked it.
    """
    if place.is_own and place.folder.exists():
        assert place.database is not None
        known = Cursor(place.cursor).get("folder").get("path")
        if known is not None and (Path(known).resolve() != place.folder or not _is_sound(place.database)):
            for path in (place.cursor, *place.folder.glob("*.db*")):
                path.unlink(missing_ok=True)
            shutil.rmtree(place.folder / "artifacts", ignore_errors=True)
    cursor = Cursor(place.cursor)
    if place.is_own and not cursor.get("folder"):
        cursor.update("folder", path=str(place.folder))
    return cursor


def _is_sound(database: Path) -> bool:
    """Whether a SQLite file is there and undamaged; raises sqlite3.Error or OSError where that cannot be known."""
    if not database.is_file():
        return False
    try:
        with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()  # it ends what a killed process began
            (pages,), (size,) = (connection.execute(f"PRAGMA page_{what}").fetchone() for what in ("count", "size"))
            return bool(found == "ok" and pages * size == database.stat().st_size)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGE:  # of an extended code
            return False
        raise


def create_database(path: Path) -> None:
    """Create a database under another name and move it: a killed process leaves none without its tables."""
    from mlflow import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob("new-*.db*"):
        left.unlink(missing_ok=True)
    made = path.with_name(f"new-{secrets.token_hex(4)}.db")
    MlflowClient(f"sqlite:///{made}")
    os.replace(made, path)
