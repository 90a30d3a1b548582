"""Whether torch can use the GPUs of this machine; torch, which takes seconds to import, is asked only when needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hwcls.errors import UserError

GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # CUDA, ROCm, CUDA under Windows' Linux
NVIDIA_DRIVER = GPU_DRIVERS[0]
HIDDEN = ("", "-1", "NoDevFiles")  # values of CUDA_VISIBLE_DEVICES that hide every GPU


def has_gpu_driver() -> bool:
    """Whether there may be a GPU: where not, torch is not asked."""
    return sys.platform != "linux" or any(os.path.exists(path) for path in GPU_DRIVERS)


def require_gpu() -> None:
    """Raise UserError where this process was given a GPU that torch cannot use: it would train on the CPU."""
    if problem := cuda_problem():
        what = f"this trial has a GPU, but {problem}"
        raise UserError(what, remedy="run `hwcls doctor`, or set gpus_per_worker: 0 to train on CPUs")


def refuse_unusable_driver(remedy: str) -> None:
    """Raise UserError, with `remedy` to train on CPUs, where an NVIDIA driver is installed but torch cannot use it.

    A user who hides the GPUs by CUDA_VISIBLE_DEVICES wants the CPU.
    """
    if not os.path.exists(NVIDIA_DRIVER) or os.environ.get("CUDA_VISIBLE_DEVICES") in HIDDEN:
        return
    if problem := cuda_problem():
        what = f"an NVIDIA driver is installed, but {problem}"
        raise UserError(what, remedy=f"run `hwcls doctor`, or {remedy} to train on CPUs")


def run_apart(arguments: list[str], limit: float, hidden: str = "") -> tuple[str, str]:
    """Run Python, which finds this hwcls, in a process of its own: what asks a driver may hang or crash.

    Args:
        arguments: Of Python.
        limit: Seconds.
        hidden: A variable that the process does not get.

    Returns:
        What it wrote, and why it failed, in words; empty where it did not.
    """
    paths = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    environment = {name: value for name, value in os.environ.items() if name != hidden} | {"PYTHONPATH": paths}
    command = [sys.executable, "-P", *arguments]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        return output, f"no answer in {limit:.0f} s"
    lines = done.stderr.strip().splitlines() or [f"its process ended with {done.returncode}"]
    return done.stdout, lines[-1][:200] if done.returncode else ""


def cuda_problem() -> str:
    """Why torch finds no GPU here, in words; empty where it finds one."""
    import torch

    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is built for CPUs"
    return f"torch {torch.__version__} cannot use it"
