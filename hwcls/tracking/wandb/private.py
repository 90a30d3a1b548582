"""What hwcls uses of wandb that is not in its documented interface: written for wandb 0.31."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wandb
from wandb.sdk import wandb_setup

from hwcls.escape import hide_credentials
from hwcls.tracking.wandb.environment import ignored_settings, ignored_variables

VERSION = "0.31"  # that all below was written for; tests/tracking/test_wandb_private.py checks it
FATAL = re.compile(r"filestream: fatal error: [^\"]*")  # in the internal log, of wandb-core
UNDOCUMENTED = {  # settings of wandb.Settings: upload nothing of the machine, the code or the command line
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
    "x_disable_viewer": True,  # its request is not bound by init_timeout
}


def prepare() -> str:
    """Leave W&B only what it may take from outside; returns the address of its server, without credentials.

    What environment.is_kept does not name is removed from the environment and from the settings that W&B read from its
    files: a parent's service too, which would have the ids of runs after this process was killed.

    Raises:
        ValueError: A variable has a value that W&B does not know.
    """
    for name in ignored_variables(os.environ):
        del os.environ[name]
    os.environ.setdefault("WANDB_SILENT", "true")  # login ignores the setting; errors are raised and logged
    os.environ["WANDB_SAGEMAKER_DISABLE"] = "true"  # it would name runs by SageMaker's jobs
    used = wandb_setup.singleton().settings
    files = wandb.Settings(settings_system=used.settings_system)  # where the files are: before any variable
    for name in ignored_settings(files.read_system_settings().all()):
        if field := wandb.Settings.model_fields.get(name):
            object.__setattr__(used, name, field.get_default(call_default_factory=True))
    used.mode = "online"  # else there is no login; each run has the mode that hwcls gives it
    return hide_credentials(str(used.base_url))


def run_settings(stop: Callable[[], None], answer: float, upload: float) -> wandb.Settings:
    """Settings of a run: quiet, without secrets, and bounded in time.

    Args:
        stop: Called when the Stop button is pressed; by default W&B interrupts this process, and all other runs.
        answer: Seconds to wait for the server when the run starts.
        upload: Seconds that the end of the run may take.
    """
    return wandb.Settings(
        silent=True,
        console="off",
        program="hwcls",  # the command line may hold secrets
        symlink=False,
        use_dot_wandb=False,
        save_code=False,
        disable_code=True,
        disable_git=True,
        disable_job_creation=True,
        init_timeout=answer,
        finish_timeout=upload,
        finish_timeout_raises=True,
        stop_fn=stop,
        **UNDOCUMENTED,
    )


def count_rows(run: Any) -> int:
    """The rows of a resumed run that the server has."""
    return int(run.starting_step)


def raise_if_upload_failed(run: Any) -> None:
    """Raise ConnectionError when W&B gave up an upload (401, 403, 404), which only its internal log reports."""
    log = Path(run.settings.log_internal)
    if log.exists() and (fatal := FATAL.search(log.read_text("utf-8", "replace"))):
        raise ConnectionError(fatal[0])
