"""A sweep's results folder: opened for one driver at a time, for one sweep file only."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hwcls import files
from hwcls.config.sweep import TRACKERS
from hwcls.errors import UserError
from hwcls.reading import DamagedFile, read_yaml
from hwcls.sweep.storage.changes.accept import Change, check_change, with_change
from hwcls.sweep.storage.checkpoint_store import find_checkpoints
from hwcls.sweep.storage.lease import MIRROR
from hwcls.tracking.folders import SweepFolder, TrialFolder, is_in_use
from hwcls.tracking.log import LOG as TRACKING_LOG
from hwcls.tracking.log import PROBLEMS
from hwcls.tracking.shapes import SweepShape

LOG = "sweep.log"
PATIENCE = 0.2  # seconds for a lock that another process looks at
FIRST = {".lock", "environment.json"}  # a start has made one of them before it makes anything in STARTED
PREPARED = {"data.json", "models.json", "splits.npz", "splits.csv", "source", MIRROR, LOG, *FIRST}
# what a start that was killed before its first trial may have left beside PREPARED
STARTED = {"sweep.yaml", "study.journal", "report.html", "leaderboard.csv", "tune", "trials"}
STARTED |= {".tracking.lock", TRACKING_LOG, PROBLEMS, *TRACKERS.names()}


@contextmanager
def open_folder(path: Path, settings: Mapping[str, Any], by: str | None = None) -> Iterator[SweepFolder]:
    """A sweep's folder, locked while the block runs; what it made is removed if it fails before the first trial.

    Args:
        path: The folder.
        settings: The sweep file with presets and options applied.
        by: The command that changed them, where it is not the file itself that was changed.

    Raises:
        UserError: It holds another file's results, another process works in it, or it cannot be written.
    """
    check_folder(path, settings)
    before = _list_names(path)
    with locked(path):
        if (path / "sweep.yaml").exists() and not _has_trials(path):
            (path / "study.journal").unlink(missing_ok=True)  # of a start that failed before its first trial
        old = _read_settings(path) if _has_trials(path) else {}
        change = check_change(path, old, settings, by) if old else None
        try:
            files.write_yaml(path / "sweep.yaml", with_change(old, settings, change))
            yield SweepFolder(path)
        except UserError:
            if not _has_trials(path):
                _remove_made(path, before)
            raise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a results folder, which is made where there is none, while the block runs.

    Raises:
        UserError: Another process works in it, or it cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / ".lock", timeout=PATIENCE)
        lock.acquire(poll_interval=PATIENCE / 10)
    except Timeout:
        raise _busy(path) from None
    except OSError as error:
        raise _unwritable(path, f": {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


def check_folder(path: Path, settings: Mapping[str, Any], file: Path | None = None) -> Change | None:
    """Check a sweep's folder without changing it; what a start would change in a sweep that has trials.

    Args:
        path: The folder.
        settings: As of `open_folder`.
        file: The sweep file, if known.

    Raises:
        UserError: As `open_folder` does, as far as it can be known without writing.
    """
    change = None
    if _has_trials(path):
        change = check_change(path, _read_settings(path), settings)
    else:
        _check_own(path, file)
    existing = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise _unwritable(path)
    if is_in_use(path):
        raise _busy(path)
    return change


def full_disk(path: Path, error: str = "") -> UserError:
    """The error of a sweep that cannot write any more; `error` is a worker's own message."""
    remedy = "free some space; the same command then resumes"
    return UserError(f"the disk is full ({error})" if error else "the disk is full", where=str(path), remedy=remedy)


def drop_leftovers(folder: SweepFolder) -> None:
    """Remove what earlier starts left in tune/, except for the checkpoints that trials resume from."""
    runs = [*folder.trials().values(), *folder.confirm_runs().values()]
    for run in runs:
        if run.result() is None:
            _register_unreported(folder, run)
        else:
            run.delete_checkpoints()  # its driver may have been killed before it did
    needed = {Path(path).resolve() for run in runs for path in run.checkpoints()}
    above = {parent for path in needed for parent in path.parents}
    for found in (folder.path / "tune").glob("*"):
        if found.is_file():
            found.unlink(missing_ok=True)
        elif found.resolve() not in above:
            shutil.rmtree(found, ignore_errors=True)
        else:
            for inner in found.iterdir():
                if inner.resolve() not in needed and inner.is_dir():
                    shutil.rmtree(inner, ignore_errors=True)


def _register_unreported(folder: SweepFolder, run: TrialFolder) -> None:
    """Register a checkpoint that was written before an earlier driver ended, but after its last report."""
    name = run.path.relative_to(folder.path).as_posix().replace("/", "-")
    written = find_checkpoints(Path(folder.saved_in(name)))
    if written and written[0] not in {Path(path).resolve() for path in run.checkpoints()}:
        run.add_checkpoint(str(written[0]))


def free_name(name: str, results: Path, taken: Collection[str] = ()) -> str:
    """The first of name, name-2, name-3, ... that is neither in `results` nor `taken`."""
    found, number = name, 2
    while (results / found).exists() or found in taken:
        found, number = f"{name}-{number}", number + 1
    return found


def _has_trials(path: Path) -> bool:
    return any(path.glob("trials/*/config.yaml"))


def _check_own(path: Path, file: Path | None) -> None:
    """Raise UserError where a folder without trials holds what no start wrote, which a start may overwrite."""
    remedy = "name another --results, or pass --new"
    if file is not None and _is_same(file, path / "sweep.yaml") and not (path / "environment.json").exists():
        what = "the sweep file lies where the sweep.yaml of its results would be written"
        raise UserError(what, where=str(file), remedy=remedy)
    if not path.exists():
        return
    foreign = _find_foreign(path) if path.is_dir() else path.name
    if foreign is not None:
        what = "exists and is not an hwcls results folder"
        if (path / "sweep.yaml").exists():
            what = f"has no trials, but holds what no start leaves before its first one ('{foreign}')"
        raise UserError(what, where=str(path), remedy=remedy)


def _find_foreign(path: Path) -> str | None:
    """An entry of a folder without trials that no start wrote, if any."""
    names = sorted(entry.name for entry in path.iterdir())
    known = PREPARED | {".DS_Store"} | (STARTED if FIRST.intersection(names) else set())
    for name in names:
        entry = path / name
        if name not in known and entry.suffix != ".tmp" and not entry.match("splits_*.csv"):
            return name
        if name == "trials" and any(inner.is_file() and inner.suffix != ".tmp" for inner in entry.rglob("*")):
            return name
        if name == "leaderboard.csv" and not (entry.is_file() and entry.read_bytes().count(b"\n") <= 1):
            return name  # it has rows of trials that were removed
    return None


def _list_names(path: Path) -> set[str]:
    try:
        return {entry.name for entry in path.iterdir()}
    except FileNotFoundError:  # not there yet, or another start that failed has just removed it
        return set()


def _is_same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _remove_made(path: Path, before: Set[str]) -> None:
    """Remove what a start made in a folder that had these entries before."""
    if before <= {".lock"}:
        shutil.rmtree(path, ignore_errors=True)
        return
    for entry in path.iterdir():
        if entry.name not in before:
            files.remove(entry)


def _busy(path: Path) -> UserError:
    remedy = "wait for it, or start a sweep in a new folder with `hwcls sweep --new`"
    return UserError("another command works in this folder", where=str(path), remedy=remedy)


def _unwritable(path: Path, why: str = "") -> UserError:
    return UserError(f"cannot be written{why}", where=str(path), remedy="make it writable, or use another folder")


def _read_settings(path: Path) -> dict[str, Any]:
    """The sweep.yaml of a folder with trials; raises UserError where it is missing or damaged."""
    remedy = "pass --new to use a new folder"
    try:
        values: dict[str, Any] = read_yaml(path / "sweep.yaml", SweepShape)
    except FileNotFoundError:
        raise UserError("has trials, but no sweep.yaml", where=str(path), remedy=remedy) from None
    except DamagedFile as error:
        raise UserError(error.what, where=error.where, remedy=remedy) from None
    return values
