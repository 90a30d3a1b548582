"""environment.json: command, git, versions and hardware of a sweep, its starts and the budget it has used."""

from __future__ import annotations

import logging
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from hwcls import __version__, files
from hwcls.format import hide_private, hide_private_word
from hwcls.reading import read_json, read_or_none
from hwcls.tracking.shapes import EnvironmentShape
from hwcls.training.gpu import has_gpu_driver

log = logging.getLogger(__name__)

PACKAGES = ("hwcls", "torch", "torchvision", "ray", "optuna", "wandb", "timm", "numpy")


def log_start() -> None:
    """Log the command and the versions, for sweep.log."""
    log.debug("started: %s", shlex.join(_command()))
    log.debug("versions: %s", ", ".join(f"{name} {found}" for name, found in package_versions(PACKAGES).items()))


def write_environment(path: Path, changes: Mapping[str, Any]) -> None:
    """Write environment.json at the first start; at later ones add the time and the last `changes`.

    Args:
        path: The results folder.
        changes: What presets and options changed in the sweep file.
    """
    target = path / "environment.json"
    changes = {origin: hide_private(values) for origin, values in changes.items()}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    old = _read_environment(path)
    if "started" in old:
        files.write_json(target, {**old, "changes": changes, "restarts": [*old.get("restarts", []), now]})
        return
    values = {"command": _command(), "changes": changes, "git": _git_state()}
    files.write_json(
        target, {**values, "versions": package_versions(PACKAGES), "hardware": _hardware(), "started": now}
    )


def write_search_end(path: Path, seconds: float, untrainable: int) -> None:
    """Record the time that the search has used when it ended, and its trials that could not be trained at all."""
    found = {"budget_spent": round(seconds, 1), "untrainable": untrainable}
    files.write_json(path / "environment.json", {**_read_environment(path), **found})


def write_effective(path: Path, values: Mapping[str, Any]) -> None:
    """Record what the machine and the space decided at the last start, where the sweep file leaves it open."""
    files.write_json(path / "environment.json", {**_read_environment(path), "effective": values})


def write_gpu_share(path: Path, gpus_per_worker: float, reason: str) -> None:
    """Record what `gpus_per_worker: auto` was measured to be, and why: later starts keep it."""
    share = {"gpus_per_worker": gpus_per_worker, "reason": reason}
    files.write_json(path / "environment.json", {**_read_environment(path), "gpu_share": share})


def read_gpu_share(path: Path) -> float | None:
    """The share of a GPU that `write_gpu_share` recorded, None before."""
    recorded = _read_environment(path).get("gpu_share")
    share = recorded.get("gpus_per_worker") if isinstance(recorded, dict) else None
    return float(share) if isinstance(share, int | float) and 0 < share <= 1 else None


def read_stopping_rule(path: Path) -> str | None:
    """The rule of early stopping at earlier starts, where it has several; those of older versions stopped trials."""
    effective = _read_environment(path).get("effective")
    early = effective.get("early_terminate") if isinstance(effective, dict) else None
    if isinstance(early, dict):
        return str(early["rule"]) if "rule" in early else None
    return "stopping" if effective is not None else None


def write_features(path: Path, found: Sequence[Mapping[str, Any]], seconds: float) -> None:
    """Record which features trials share, and that this start computed them for so long; earlier starts count too."""
    old = _read_environment(path)
    before = old.get("features", {}).get("seconds", 0.0)
    features = {"of": list(found), "seconds": round(before + seconds, 1)}
    files.write_json(path / "environment.json", {**old, "features": features})


def read_budget_spent(path: Path) -> float:
    """The seconds that `write_search_end` recorded, 0 before."""
    return float(_read_environment(path).get("budget_spent", 0.0))


def read_untrainable(path: Path) -> int:
    """The trials that could not be trained, as `write_search_end` recorded them, 0 before."""
    return int(_read_environment(path).get("untrainable", 0))


def package_versions(names: Iterable[str]) -> dict[str, str | None]:
    """The versions of Python and of packages as installed here, None for a package that is missing."""
    return {"python": platform.python_version(), **{name: package_version(name) for name in names}}


def package_version(name: str) -> str | None:
    """The version of an installed package, None for one that is missing; of hwcls, that of the code that runs."""
    if name == "hwcls":
        return __version__
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _read_environment(path: Path) -> dict[str, Any]:
    """environment.json, empty where it is missing or damaged."""
    return read_or_none(read_json, path / "environment.json", EnvironmentShape) or {}


def _command() -> list[str]:
    return [Path(sys.argv[0]).name, *map(hide_private_word, sys.argv[1:])]


def _git_state() -> dict[str, Any] | None:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _hardware() -> dict[str, Any]:
    gpus, memory = _gpus(), _memory()
    return {"system": platform.platform(), "processor": _processor(), "gpus": gpus, "memory_gb": memory}


def _gpus() -> list[str]:
    if not has_gpu_driver():
        return []
    import torch

    if not torch.cuda.is_available():  # a driver that torch cannot use counts its GPUs, but does not name them
        return []
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
