"""What hwcls uses of wandb that is not in its documented interface: written for wandb 0.31."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wandb

VERSION = "0.31"  # that all below was written for; tests/tracking/test_wandb_private.py checks it
FATAL = re.compile(r"filestream: fatal error: [^\"]*")  # in the internal log, of wandb-core
UNDOCUMENTED = {  # settings of wandb.Settings: upload nothing of the machine, the code or the command line
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
    "x_disable_viewer": True,  # its request is not bound by init_timeout
}


def prepare_environment() -> None:
    """Set the environment so that this process starts its own wandb service, without output."""
    os.environ.pop("WANDB_SERVICE", None)  # a parent's would hold the ids of runs after this process was killed
    os.environ.setdefault("WANDB_SILENT", "true")  # login ignores the setting; errors are raised and logged


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
