"""A sweep's results folder: opened for one driver at a time, for one sweep file only."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from hwcls import files
from hwcls.config.sweep_file import Sweep
from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import gpu_driver
from hwcls.sweep.storage.lease import MIRROR
from hwcls.tracking.folders import SweepFolder

# what may change between two starts without making another sweep of it
GROWS = {"run_cap", "budget", "confirm", "track", "artifacts", "project", "keep"}
GROWS |= {"max_restarts", "hang_after", "resources.concurrent"}
# what a start that failed may have been writing when its folder was removed
PREPARED = {".lock", "data.json", "models.json", "splits.npz", "source", MIRROR}
PACKAGES = ("hwcls", "torch", "torchvision", "ray", "optuna", "wandb", "timm", "numpy")


@contextmanager
def open_folder(sweep: Sweep, results: Path) -> Iterator[SweepFolder]:
    """The folder of a sweep, locked while the block runs; gone again if the block fails before the first trial.

    Raises:
        UserError: Another file's results lie there, or another process works in it, or it cannot be written.
    """
    path = check_folder(sweep, results)
    if (path / "sweep.yaml").exists() and not _begun(path):
        (path / "study.journal").unlink(missing_ok=True)  # of a start that never came to a trial
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise _busy(path) from None
    except OSError as error:
        raise UserError(
            f"cannot be written: {error.strerror}", where=str(path), remedy="name another --results"
        ) from None
    try:
        files.write_yaml(path / "sweep.yaml", sweep.resolved())
        yield SweepFolder(path)
    except UserError:
        if not _begun(path):
            shutil.rmtree(path, ignore_errors=True)
        raise
    finally:
        lock.release()


def check_folder(sweep: Sweep, results: Path) -> Path:
    """The folder of a sweep, looked at and left as it is.

    Raises:
        UserError: As `open_folder` does, as far as it can be known without writing.
    """
    path = results / sweep.config.name
    if _begun(path):
        _same_sweep(sweep, path)
    elif _foreign(path):
        remedy = "name another --results, or pass --new"
        raise UserError("lies in the way and is no results folder of hwcls", where=str(path), remedy=remedy)
    there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise UserError("cannot be written", where=str(path), remedy="name another --results")
    if (path / ".lock").exists():
        try:
            FileLock(path / ".lock", timeout=0).acquire().lock.release()
        except Timeout:
            raise _busy(path) from None
        except OSError:
            pass  # said where it is opened to write
    return path


def _begun(path: Path) -> bool:
    """Whether a trial has started."""
    return any(path.glob("trials/*/config.yaml"))


def _foreign(path: Path) -> bool:
    """Whether something else lies there."""
    if (path / "sweep.yaml").exists() or not path.exists():
        return False
    return not path.is_dir() or any(i.name not in PREPARED and i.suffix != ".tmp" for i in path.iterdir())


def _busy(path: Path) -> UserError:
    remedy = "wait for it, or pass --new to start beside it"
    return UserError("another sweep works in this folder", where=str(path), remedy=remedy)


def full_disk(path: Path, error: str = "") -> UserError:
    """What ends a sweep that cannot write; all that was recorded stays. `error` is what a worker said of it."""
    remedy = "make room; the same command then goes on where it was"
    return UserError(f"the disk is full ({error})" if error else "the disk is full", where=str(path), remedy=remedy)


def drop_leftovers(opened: SweepFolder) -> None:
    """Remove what earlier starts left in tune/, but for the checkpoints that trials go on from."""
    runs = [*opened.trials().values(), *opened.confirm_runs().values()]
    needed = {Path(path).resolve() for run in runs for path in run.checkpoints()}
    for found in (opened.path / "tune").glob("*"):
        if found.is_file():
            found.unlink(missing_ok=True)
        elif not any(found.resolve() in path.parents for path in needed):
            shutil.rmtree(found, ignore_errors=True)
        else:
            for inner in found.iterdir():
                if inner.resolve() not in needed and inner.is_dir():
                    shutil.rmtree(inner, ignore_errors=True)


def free_name(sweep: Sweep, results: Path, taken: Collection[str] = ()) -> str:
    """The sweep's name if nothing lies there and it is not `taken`, else the first of name-2, name-3, ... like that."""
    name, number = sweep.config.name, 2
    while (results / name).exists() or name in taken:
        name, number = f"{sweep.config.name}-{number}", number + 1
    return name


def _same_sweep(sweep: Sweep, path: Path) -> None:
    try:
        old = yaml.safe_load((path / "sweep.yaml").read_text("utf-8"))
        assert isinstance(old, dict)
    except (OSError, yaml.YAMLError, AssertionError):
        raise UserError("sweep.yaml cannot be read", where=str(path), remedy="pass --new to start beside it") from None
    changed = sorted(set(_changes(old, sweep.resolved())))
    if changed:
        listed = ", ".join(changed[:5]) + (" and more" if len(changed) > 5 else "")
        what = f"holds the results of another version of this sweep; changed: {listed}"
        raise UserError(what, where=str(path), remedy="pass --new to start beside it, or name another --results")


def _changes(old: Any, new: Any, key: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(old, Mapping) or isinstance(new, Mapping):
        old, new = (
            value if isinstance(value, Mapping) else {} if value is None else {"": value} for value in (old, new)
        )
        for name in {**old, **new}:
            if ".".join((*key, name)) not in GROWS:
                yield from _changes(old.get(name), new.get(name), (*key, str(name)))
    elif old != new:
        yield ".".join(key)


def write_environment(path: Path, changes: Mapping[str, Any]) -> None:
    """environment.json: command, git, versions and hardware of the first start, when each start was, and what presets
    and options changed in the sweep file at the last one."""
    target = path / "environment.json"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    if target.exists():
        try:
            old = json.loads(target.read_text("utf-8"))
            files.write_json(target, {**old, "changes": changes, "restarts": [*old.get("restarts", []), now]})
            return
        except ValueError:
            pass
    files.write_json(
        target,
        {
            "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
            "changes": changes,
            "git": _git(),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            "hardware": _hardware(),
            "started": now,
        },
    )


def note_budget(path: Path, seconds: float) -> None:
    """Remember how much of the time budget the search has used when it ended."""
    target = path / "environment.json"
    files.write_json(target, {**json.loads(target.read_text("utf-8")), "budget_spent": round(seconds, 1)})


def budget_spent(path: Path) -> float:
    """What `note_budget` noted, 0 before."""
    try:
        return float(json.loads((path / "environment.json").read_text("utf-8")).get("budget_spent", 0.0))
    except (OSError, ValueError):
        return 0.0


def version(name: str) -> str | None:
    """The version of an installed package, None for one that is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    def ask(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "changed": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _hardware() -> dict[str, Any]:
    gpus, memory = _gpus(), _memory()
    return {"system": platform.platform(), "processor": _processor(), "gpus": gpus, "memory_gb": memory}


def _gpus() -> list[str]:
    if not gpu_driver():
        return []
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        return f"{len(names)} x {names[0]}" if names else platform.machine()
    except OSError:
        return platform.processor() or platform.machine()


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError):
        return None
