"""A sweep handed to a cluster from outside, through Ray Jobs: its driver runs on the head."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.exceptions import AuthenticationError, RayError

from hwcls.config.model import UserModelConfig
from hwcls.config.sweep_file import Sweep
from hwcls.errors import UserError
from hwcls.sweep.cluster.connect import first_line
from hwcls.sweep.storage.object_store import is_url
from hwcls.sweep.storage.user_code import weight_files, with_neighbours

ADDRESS = "http://127.0.0.1:8265"  # of the head's dashboard, as `ray dashboard cluster.yaml` brings it here
VARIABLE = "RAY_API_SERVER_ADDRESS"  # Ray's own
LARGEST = 90_000_000  # bytes of all weights: the dashboard takes 100 MiB in all
STARTS = 30  # seconds that a head which has just come up has to take jobs
STOPS = 180  # seconds that a stopped job has to save its trials, end its epoch and send its results; Ray's own are 3


@dataclass(frozen=True)
class Job:
    """A submitted sweep."""

    id: str
    address: str
    status: str  # of Ray's: PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED
    exit_code: int | None  # of `hwcls sweep`, once it has ended


def submit(sweep: Sweep, file: Path, options: Sequence[str], address: str | None) -> Job:
    """Send a sweep's file and the user's model files to the head, and start `hwcls sweep` there.

    Args:
        sweep: The checked sweep.
        file: Its file.
        options: Of `hwcls sweep`.
        address: Of the dashboard; None: what `RAY_API_SERVER_ADDRESS` names, else ADDRESS.

    Raises:
        UserError: Nothing answers there, or it refuses the token, or a model file cannot be sent.
    """
    client, address = _client(address)
    with tempfile.TemporaryDirectory() as folder:
        collect(sweep, file, Path(folder))
        command = shlex.join(["hwcls", "sweep", file.name, "--address", "auto", *options])
        sent = {
            "entrypoint": command,
            "runtime_env": {"working_dir": folder, "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOPS)}},
            "metadata": {"sweep": sweep.config.name},
        }
        until = time.monotonic() + STARTS
        while True:
            try:
                return Job(client.submit_job(**sent), address, "PENDING", None)
            except (RayError, RuntimeError, OSError) as error:
                if "No available agent" not in str(error) or time.monotonic() > until:
                    raise _refused(address, error) from None
            time.sleep(1)


def follow(job: Job, say: Callable[[str], None]) -> Job:
    """Pass on what the sweep prints until it ends; returns how it ended."""
    client, _ = _client(job.address)

    async def lines() -> None:
        async for text in client.tail_job_logs(job.id):
            say(text)

    try:
        asyncio.run(lines())
        info = client.get_job_info(job.id)
    except (RayError, RuntimeError, OSError) as error:
        raise _refused(job.address, error) from None
    return Job(job.id, job.address, str(info.status.value), info.driver_exit_code)


def check_results(results: str) -> None:
    """Raises UserError where results would lie in the job's own folder, which Ray removes."""
    if not is_url(results) and not results.startswith(("/", "~")):
        remedy = f"write ~/{results}, /a/folder or s3://bucket/prefix"
        raise UserError(f"'{results}' names no place on the head", where="--results", remedy=remedy)


def collect(sweep: Sweep, file: Path, folder: Path) -> None:
    """Copy the sweep file, the user's models with what they import, and weights, to where the job looks for them."""
    shutil.copyfile(file, folder / file.name)
    for trial in sweep.corners:
        if isinstance(trial.model, UserModelConfig):
            source = Path(trial.model.name.rpartition(":")[0])
            for found in with_neighbours(_below(source, "model.name"), set()):
                _copy(found, folder)
    # others lie on the nodes, or the head says that they do not
    weights = [path for path in map(Path, weight_files(sweep)) if not path.is_absolute() and path.is_file()]
    if sum(path.stat().st_size for path in weights) > LARGEST:
        largest = max(weights, key=lambda path: path.stat().st_size)
        remedy = "put it on every node and name it by its absolute path"
        raise UserError(f"'{largest}' is too large to be sent", where="model.pretrained", remedy=remedy)
    for path in weights:
        _copy(_below(path, "model.pretrained"), folder)


def _below(path: Path, where: str) -> Path:
    """A file of the user's, which the job will look for by the same path."""
    root = Path.cwd()
    if path.is_absolute() or not path.resolve().is_relative_to(root):
        remedy = f"name it by its path below {root}, where you are"
        raise UserError(f"'{path}' cannot be sent", where=where, remedy=remedy)
    return path.resolve()


def _copy(found: Path, folder: Path) -> None:
    target = folder / found.relative_to(Path.cwd())
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(found, target)


def _client(address: str | None) -> tuple[Any, str]:
    address = address or os.environ.get(VARIABLE) or ADDRESS
    logging.getLogger("ray").setLevel(logging.ERROR)
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(address), address
    except (RayError, RuntimeError, OSError, ValueError) as error:
        raise _refused(address, error) from None


def _refused(address: str, error: Exception) -> UserError:
    if "ray[default]" in str(error):
        return UserError("Ray Jobs is not installed here", remedy="pip install 'hwcls[cluster]'")
    if isinstance(error, AuthenticationError):
        remedy = "copy ~/.ray/auth_token from where you ran `ray up`"
        return UserError("the cluster refuses the token that is here", where=address, remedy=remedy)
    remedy = "run `ray dashboard cluster.yaml` in another terminal, or name the dashboard with --address"
    return UserError(f"no cluster answers ({first_line(error)})", where=address, remedy=remedy)
