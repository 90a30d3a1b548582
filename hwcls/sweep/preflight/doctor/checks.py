"""`hwcls doctor`: problems of this machine or cluster that a sweep would meet, each with its remedy."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hwcls.config.sweep import TRACKERS
from hwcls.data.catalog import cache_folder, find_data_set, list_data_sets, raw_folders
from hwcls.data.disk import is_disk_full
from hwcls.errors import UserError
from hwcls.format import format_bytes
from hwcls.sweep.cluster.connect import connected, first_line
from hwcls.sweep.cluster.local_node import LONGEST_FOLDER
from hwcls.sweep.preflight.doctor.check import Check
from hwcls.sweep.preflight.doctor.torch_checks import ask_torch
from hwcls.sweep.storage.environment import package_version
from hwcls.temporary import find_root

LOW_DISK = 5 * 2**30
LOW_FILES = 4096
SHARED_MEMORY, LOW_SHARED_MEMORY = "/dev/shm", 2**30
REMEDIES = {  # by check
    "results": "pass --results to a folder that you may write",
    "cache": "set HWCLS_CACHE to a folder that you may write",
    "temporary files": "set TMPDIR to a folder that you may write",
    "home": "set HOME to a folder that you may write",
}
COMPILED = ("torch", "ray", "timm", "optuna")  # packages of many files that a sweep's processes import


def run_checks(results: Path, address: str | None) -> Iterator[Check]:
    """Run every check; each is yielded as soon as it is known, and one that fails does not keep the others from it."""
    with ThreadPoolExecutor(1) as pool:
        torch = pool.submit(ask_torch)  # a process of its own, which is done when Ray has started
        checks: dict[str, Callable[[], Iterable[Check]]] = {
            "python": lambda: [_python()],
            "bytecode": lambda: [_bytecode()],
            "results": lambda: [_disk("results", results)],
            "cache": lambda: [_disk("cache", cache_folder())],
            "temporary files": lambda: [_disk("temporary files", Path(tempfile.gettempdir()))],
            "home": lambda: [_home()],
            "sockets": lambda: [_sockets()],
            "shared memory": lambda: [_shared_memory()],
            "open files": lambda: [_open_files()],
            "encoding": lambda: [_encoding()],
            "data": _data,
            "login": _logins,
            "ray": lambda: _ray(address),
            "torch": torch.result,
        }
        for name, check in checks.items():
            yield from _run_check(name, check)


def _run_check(name: str, check: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    try:
        yield from check()
    except UserError as error:
        where = f"{error.where}: " if error.where else ""
        yield Check(name, "wrong", f"{where}{error.what}", error.remedy)
    except Exception as error:  # the doctor names what is wrong; it does not die of it
        found = f"cannot be checked: {first_line(error)}"
        yield Check(name, "wrong", found, "free some space" if is_disk_full(error) else REMEDIES.get(name, ""))


def _python() -> Check:
    names = ("hwcls", "torch", "torchvision", "ray", "optuna")
    found = ", ".join(f"{name} {package_version(name) or 'missing'}" for name in names)
    return Check("python", "ok", f"Python {platform.python_version()}, {found}")


def _bytecode() -> Check:
    """Whether Python caches bytecode: without it each process of a sweep compiles thousands of files."""
    uncompiled = []
    for name in COMPILED:
        spec = importlib.util.find_spec(name)
        if spec and spec.origin and not Path(importlib.util.cache_from_source(spec.origin)).exists():
            uncompiled.append(name)
    if not uncompiled:
        return Check("bytecode", "ok", "the packages are compiled")
    remedy = f"run once: {sys.executable} -m compileall -q {Path(sysconfig.get_path('purelib'))}"
    if sys.dont_write_bytecode:
        remedy += "; PYTHONDONTWRITEBYTECODE disables it in Python itself"
    found = f"{', '.join(uncompiled)}: every process compiles them at its start, which takes seconds"
    return Check("bytecode", "note", found, remedy)


def _disk(name: str, folder: Path) -> Check:
    remedy = REMEDIES[name]
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not existing.is_dir():
        return Check("disk", "wrong", f"{name}: {existing} is not a folder", remedy)
    if not os.access(existing, os.W_OK | os.X_OK):
        return Check("disk", "wrong", f"{name}: {folder} cannot be written", remedy)
    free = shutil.disk_usage(existing).free
    if free < LOW_DISK:
        found = f"{name}: {format_bytes(free)} free in {folder}"
        return Check("disk", "note", found, "free some space for data sets, checkpoints and Ray's logs")
    return Check("disk", "ok", f"{name}: {format_bytes(free)} free in {folder}")


def _home() -> Check:
    """The home folder, in which W&B, torch and timm keep settings and weights."""
    home = os.path.expanduser("~")
    if os.path.isdir(home) and os.access(home, os.W_OK | os.X_OK):
        return Check("home", "ok", home)
    found = "there is none" if home == "~" else f"{home} cannot be written"
    return Check("home", "note", f"{found}: logins and downloaded weights are not kept", REMEDIES["home"])


def _sockets() -> Check:
    """The folder of Ray's sockets, whose paths must be short."""
    root = find_root(LONGEST_FOLDER)
    given = os.environ.get("TMPDIR")
    if given and root.parent != Path(given):
        found = f"{root}, since the path of TMPDIR is too long for a socket or cannot be written"
        return Check("sockets", "ok", found)
    return Check("sockets", "ok", str(root))


def _shared_memory() -> Check:
    if sys.platform != "linux":
        return Check("shared memory", "ok", "not needed here")
    if not os.path.isdir(SHARED_MEMORY):
        remedy = f"mount it: mount -t tmpfs tmpfs {SHARED_MEMORY}"
        return Check("shared memory", "note", f"no {SHARED_MEMORY}: Ray uses the disk, NCCL may fail", remedy)
    size = shutil.disk_usage(SHARED_MEMORY).total
    if size < LOW_SHARED_MEMORY:
        remedy = "start the container with --shm-size=2g"
        found = f"{format_bytes(size)}: Ray uses the disk beside it; several GPUs may need more"
        return Check("shared memory", "note", found, remedy)
    return Check("shared memory", "ok", format_bytes(size))


def _encoding() -> Check:
    names = {"file names": sys.getfilesystemencoding(), "output": sys.stdout.encoding or "none"}
    found = ", ".join(f"{what} in {name}" for what, name in names.items())
    if all(name.lower().replace("-", "") == "utf8" for name in names.values()):
        return Check("encoding", "ok", found)
    return Check("encoding", "note", f"{found}: some characters are replaced", "export LC_ALL=C.UTF-8")


def _open_files() -> Check:
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit < LOW_FILES:
        return Check("open files", "note", f"at most {limit}", f"ulimit -n {LOW_FILES}: Ray opens many")
    return Check("open files", "ok", f"at most {limit}")


def _data() -> Iterator[Check]:
    folder = os.environ.get("HWCLS_DATA")
    if folder and not Path(folder).is_dir():
        yield Check("data", "wrong", f"HWCLS_DATA is {folder}, which is not a folder", "name a folder, or unset it")
    sets = [entry for entry in list_data_sets() if find_data_set(str(entry["name"])).in_raw_folders]
    found = [str(entry["name"]) for entry in sets if entry["found"]]
    missing = [str(entry["name"]) for entry in sets if not entry["found"]]
    places = ", ".join(map(str, raw_folders()))
    if found:
        yield Check("data", "ok", f"{', '.join(found)} (in {places})")
    if missing:
        remedy = f"hwcls data fetch {missing[0]}, or hwcls data import {missing[0]} PATH"
        yield Check("data", "note", f"missing: {', '.join(missing)}", remedy)


def _logins() -> Iterator[Check]:
    """The login of each tracker that has one."""
    for name, tracker in TRACKERS.all().items():
        if tracker.login_command is None:
            continue
        places = tracker.describe_environment()
        places = f"; {places}" if places else ""
        if problem := tracker.login_problem():
            remedy = f"{problem.remedy}; until then runs stay on disk"
            yield Check(name, "note", f"offline: {problem}{places}", remedy)
        else:
            yield Check(name, "ok", f"logged in{places}")


def _ray(address: str | None) -> Iterator[Check]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from hwcls.sweep.cluster.nodes import GPU_TIMEOUT, gpu_problem, node_versions

    try:
        with connected(address) as machine:
            yield Check("ray", "ok", f"starts, with {machine}")
            if address is not None:
                mine = node_versions()
                for node in (node for node in ray.nodes() if node["Alive"]):
                    options = {"scheduling_strategy": NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)}
                    found = ray.remote(node_versions).options(num_cpus=0, **options).remote()
                    yield _same_versions(node["NodeManagerAddress"], mine, ray.get(found, timeout=60))
                    if node["Resources"].get("GPU", 0):
                        problem = ray.remote(gpu_problem).options(num_cpus=0, **options).remote()
                        yield _gpus_of(node["NodeManagerAddress"], ray.get(problem, timeout=2 * GPU_TIMEOUT))
    except (ray.exceptions.RayError, ImportError) as error:
        yield Check("ray", "wrong", f"a node does not respond: {first_line(error)}", "is hwcls installed on it?")


def _same_versions(node: str, mine: dict[str, str | None], theirs: dict[str, Any]) -> Check:
    from hwcls.sweep.cluster.nodes import version_differences

    if found := version_differences(mine, theirs):
        return Check("node", "wrong", f"{node} has {found}", "use the same image on every node")
    return Check("node", "ok", f"{node} has the same versions")


def _gpus_of(node: str, problem: str) -> Check:
    what, _, remedy = problem.partition(" — ")
    return Check("node", "wrong", f"{node} {what}", remedy) if what else Check("node", "ok", f"{node} can use its GPUs")
