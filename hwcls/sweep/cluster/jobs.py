"""Submit a sweep to a cluster through Ray Jobs: its driver runs on the head."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.exceptions import AuthenticationError, RayError

from hwcls import files
from hwcls.config.sweep_file import Sweep
from hwcls.errors import UserError, install_extra
from hwcls.escape import hide_credentials
from hwcls.models.user.code import read_code
from hwcls.sweep.cluster.connect import first_line, ray_command
from hwcls.sweep.storage.object_store import is_url
from hwcls.temporary import temporary_folder

ADDRESS = "http://127.0.0.1:8265"  # of the head's dashboard, as `ray dashboard cluster.yaml` forwards it
VARIABLE = "RAY_API_SERVER_ADDRESS"  # Ray's own
LARGEST = 90_000_000  # bytes of all weights: the dashboard takes 100 MiB in all
STARTUP_TIMEOUT = 30  # seconds until a head that has just started accepts jobs
STOP_TIMEOUT = 180  # seconds for a stopped job to end its epoch, save and upload; Ray's own are 3


@dataclass(frozen=True)
class SubmittedJob:
    """A submitted sweep."""

    id: str
    address: str  # may have a password
    status: str  # Ray's: PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED
    exit_code: int | None  # of `hwcls sweep`, once it has ended

    def to_dict(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {**vars(self), "address": hide_credentials(self.address)}

    def stop_command(self) -> str:
        """Ends it."""
        return ray_command("job", "stop", self.id, "--address", self.address)

    def logs_command(self) -> str:
        """Shows its output until it ends."""
        return ray_command("job", "logs", "-f", self.id, "--address", self.address)


def submit_sweep(sweep: Sweep, file: Path, options: Sequence[str], address: str | None) -> SubmittedJob:
    """Upload a sweep file and the user's model files to the head, and start `hwcls sweep` there.

    Args:
        sweep: The checked sweep.
        file: Its file.
        options: Of `hwcls sweep`.
        address: Of the dashboard; None: what `RAY_API_SERVER_ADDRESS` names, else ADDRESS.

    Raises:
        UserError: Nothing responds there, the token is rejected, or a model file cannot be uploaded.
    """
    client, address = _client(address)
    with temporary_folder() as folder:
        collect_files(sweep, file, folder)
        command = shlex.join(["hwcls", "sweep", file.name, "--address", "auto", *options])
        request = {
            "entrypoint": command,
            "runtime_env": {"working_dir": str(folder), "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_TIMEOUT)}},
            "metadata": {"sweep": sweep.config.name},
        }
        deadline = time.monotonic() + STARTUP_TIMEOUT
        while True:
            try:
                return SubmittedJob(client.submit_job(**request), address, "PENDING", None)
            except (RayError, RuntimeError, OSError) as error:
                if "No available agent" not in str(error) or time.monotonic() > deadline:
                    raise _refused(address, error) from None
            time.sleep(1)


def stream_output(job: SubmittedJob, write: Callable[[str], None]) -> SubmittedJob:
    """Write the output of the sweep until it ends; returns its final state.

    Raises:
        UserError: The connection is lost; the job keeps running.
    """
    import aiohttp  # of ray[default], as the client is

    client, _ = _client(job.address)

    async def stream() -> None:
        async for text in client.tail_job_logs(job.id):
            write(text)

    try:
        asyncio.run(stream())
        info = client.get_job_info(job.id)
    except (RayError, RuntimeError, OSError, aiohttp.ClientError) as error:
        what = f"{job.id} does not show its output any more ({first_line(error)})"
        remedy = f"it keeps running; `{job.logs_command()}` shows its output"
        raise UserError(what, where=job.address, remedy=remedy) from None
    return SubmittedJob(job.id, job.address, str(info.status.value), info.driver_exit_code)


def check_results(results: str) -> None:
    """Raise UserError where results would be in the job's own folder, which Ray removes."""
    if not is_url(results) and not results.startswith(("/", "~")):
        remedy = f"write ~/{results}, /a/folder or s3://bucket/prefix"
        raise UserError(f"'{results}' is not an absolute path on the head", where="--results", remedy=remedy)


def collect_files(sweep: Sweep, file: Path, folder: Path) -> None:
    """Copy the sweep file, the user's models with their local imports, and weights into the job's working folder."""
    shutil.copyfile(file, folder / file.name)
    weights: dict[Path, Path] = {}
    for model in {trial.model.model_dump_json(): trial.model for trial in sweep.corners}.values():
        if model.source_file is not None:
            written = sweep.written_models[model.name].source_file
            target = folder / _relative_path(Path(str(written)), sweep, "model.name")
            for name, content in read_code(model.source_file).files.items():
                files.write_with(target.with_name(name), lambda to, content=content: to.write(content))  # type: ignore[misc]
        if model.weights_file is not None and os.path.isfile(model.weights_file):
            written = Path(str(sweep.written_models[model.weights_file].weights_file))
            if not written.is_absolute():  # it is on the nodes, or the driver reports that it is missing
                weights[Path(model.weights_file)] = written
    if sum(path.stat().st_size for path in weights) > LARGEST:
        largest = max(weights, key=lambda path: path.stat().st_size)
        remedy = "put it on every node and name it by its absolute path"
        raise UserError(f"'{weights[largest]}' is too large to upload", where="model.pretrained", remedy=remedy)
    for path, written in weights.items():
        target = folder / _relative_path(written, sweep, "model.pretrained")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _relative_path(written: Path, sweep: Sweep, where: str) -> Path:
    """The path below the job's folder by which it finds a file: beside the sweep file, or in the current folder."""
    root = sweep.folder.absolute() if (sweep.folder / written).is_file() else Path.cwd()
    found = Path(os.path.normpath(root / written))
    if written.is_absolute() or not found.is_relative_to(root):
        remedy = f"name it by its path below the current folder, {root}"
        raise UserError(f"'{written}' cannot be uploaded", where=where, remedy=remedy)
    return found.relative_to(root)


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
        return UserError("Ray Jobs is not installed here", remedy=install_extra("cluster"))
    if isinstance(error, AuthenticationError):
        remedy = "copy ~/.ray/auth_token from where you ran `ray up`"
        return UserError("the cluster rejects the local token", where=address, remedy=remedy)
    remedy = "run `ray dashboard cluster.yaml` in another terminal, or name the dashboard with --address"
    return UserError(f"no cluster responds ({first_line(error)})", where=address, remedy=remedy)
