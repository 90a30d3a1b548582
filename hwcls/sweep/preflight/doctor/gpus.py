"""The checks of GPUs: what torch finds, and what it can do with them, in a process of its own that may hang or die."""

from __future__ import annotations

import os
from collections.abc import Iterator

from hwcls.sweep.preflight.doctor.check import Check, read_checks
from hwcls.training.gpu import GPU_DRIVERS, HIDDEN, NVIDIA_DRIVER, cuda_problem, run_apart

TRIALS = "hwcls.sweep.preflight.doctor.gpu_trials"
LIMIT = 180.0  # seconds: torch is imported, and Triton compiles
REMEDIES = {  # by trial
    **dict.fromkeys(("gpu", "memory"), "another program may hold the GPU, or it is faulty; see nvidia-smi"),
    "bf16": "update the driver, or install another torch",
    "compile": "install gcc, and triton as torch asks for it; training does without",
    "all-reduce": "run with NCCL_DEBUG=INFO; NCCL_P2P_DISABLE=1 helps where GPUs do not reach each other",
}


def check_gpus() -> Iterator[Check]:
    """Whether torch finds GPUs, and on each: free memory, bf16, compilation; with several, a sum over all of them."""
    import torch

    if problem := cuda_problem():
        yield _without_gpu(problem)
        return
    count = torch.cuda.device_count()
    yield from _run_trials("each", count, ["gpu", "memory", "bf16", "compile"])
    if count < 2:
        return
    if torch.distributed.is_available() and torch.distributed.is_nccl_available():
        yield from _run_trials("all", count, ["all-reduce"])
    else:
        remedy = "install torch's CUDA build: workers on GPUs communicate through NCCL"
        yield Check("nccl", "wrong", "missing", remedy)


def _without_gpu(problem: str) -> Check:
    import torch

    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in HIDDEN
    if os.path.exists(NVIDIA_DRIVER) and not hidden:
        remedy = f"its driver must support CUDA {torch.version.cuda}: update the driver or install another torch"
        return Check("gpu", "wrong", f"an NVIDIA driver is installed, but {problem}", remedy)
    if hidden and any(map(os.path.exists, GPU_DRIVERS)):
        return Check("gpu", "note", "hidden by CUDA_VISIBLE_DEVICES: trials run on CPU cores")
    return Check("gpu", "note", "none: trials run on CPU cores", "large models need a GPU")


def _run_trials(which: str, count: int, names: list[str]) -> Iterator[Check]:
    """Run trials in a process of their own; those that it does not report have hung or crashed."""
    output, failure = run_apart(["-m", TRIALS, which, str(count)], LIMIT)
    found = read_checks(output)
    yield from (check if check.remedy or check.state == "ok" else _with_remedy(check) for check in found)
    if missing := [name for name in names if name not in {check.name for check in found}]:
        end = failure or "its process reported nothing"
        yield _with_remedy(Check(missing[0], "note" if missing[0] == "compile" else "wrong", end))


def _with_remedy(check: Check) -> Check:
    return Check(check.name, check.state, check.found, REMEDIES[check.name])
