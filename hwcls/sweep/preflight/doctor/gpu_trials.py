"""What `hwcls doctor` tries on GPUs; run as `python -m`, it prints each result at once, as a line of JSON.

`each N` tries every one of N GPUs by itself, `all N` sums over them as the workers of a trial do.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable

import torch

from hwcls.format import format_bytes, format_count
from hwcls.sweep.preflight.doctor.check import Check, write_check
from hwcls.training.distributed import World
from hwcls.training.launch import launch

BLOCK = 2**30  # bytes that are allocated, or half of what is free
SIDE = 512  # of the matrices
TOLERANCE = 0.02  # of a product in bf16, relative to the largest value


def try_each(devices: Iterable[torch.device]) -> list[Check]:
    """Memory and bf16 of every device, and compilation on the first: all are alike to a compiler."""
    devices = list(devices)
    trials: list[tuple[str, Callable[[torch.device], Check], list[torch.device]]] = [
        ("gpu", describe, devices),
        ("memory", try_memory, devices),
        ("bf16", try_bf16, devices),
        ("compile", try_compile, devices[:1]),
    ]
    return [_report(name, trial, device) for name, trial, some in trials for device in some]


def _report(name: str, trial: Callable[[torch.device], Check], device: torch.device) -> Check:
    try:
        check = trial(device)
    except Exception as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        check = Check(name, "note" if name == "compile" else "wrong", f"{device}: {line}")
    write_check(check)
    return check


def describe(device: torch.device) -> Check:
    """Its name and free memory."""
    free, total = torch.cuda.mem_get_info(device)
    found = f"{torch.cuda.get_device_name(device)}, {format_bytes(free)} of {format_bytes(total)} free"
    if free < 0.5 * total:
        return Check("gpu", "note", found, "another program uses it; see nvidia-smi")
    return Check("gpu", "ok", found)


def try_memory(device: torch.device) -> Check:
    """Fill a block of memory and read it back."""
    free, _ = torch.cuda.mem_get_info(device)
    size = min(BLOCK, free // 2)
    block = torch.full((size // 4,), 3, dtype=torch.int32, device=device)  # (size / 4,)
    if not bool((block == 3).all()):
        return Check("memory", "wrong", f"{device}: {format_bytes(size)} are not read as they were written")
    return Check("memory", "ok", f"{device}: {format_bytes(size)} written and read")


def try_bf16(device: torch.device) -> Check:
    """A product of matrices in bf16, where the GPU has it, against float32."""
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        name = torch.cuda.get_device_name(device)
        found = f"{device}: {name} has no bf16: trials train in float32, at a fraction of the speed"
        return Check("bf16", "note", found, "hwcls uses no fp16, which would need a scaled loss")
    left, right = torch.randn(2, SIDE, SIDE, device=device)  # (SIDE, SIDE) each
    exact = left @ right
    error = ((left.bfloat16() @ right.bfloat16()).float() - exact).abs().max() / exact.abs().max()
    if not float(error) < TOLERANCE:
        return Check("bf16", "wrong", f"{device}: a product is off by {float(error):.1%}")
    return Check("bf16", "ok", f"{device}: used for training")


def try_compile(device: torch.device) -> Check:
    """A compiled function against the same one as it is: that takes Triton and a C compiler."""
    if not any(map(shutil.which, ("gcc", "cc", "clang"))):
        return Check("compile", "note", "torch.compile finds no C compiler")
    values = torch.randn(1000, device=device)  # (1000,)

    def call(x: torch.Tensor) -> torch.Tensor:
        return (x * x + 1).sqrt().sum()

    if not torch.allclose(torch.compile(call)(values), call(values), rtol=1e-4):
        return Check("compile", "note", f"{device}: a compiled function gives another result")
    return Check("compile", "ok", f"{device}: torch.compile works")


def try_all_reduce(count: int) -> Check:
    """Sum over `count` ranks of this machine, as the workers of a trial do."""
    launch(count, _sum)
    ranks, verb = format_count(count, "rank"), "has" if count == 1 else "have"
    return Check("all-reduce", "ok", f"{ranks} {verb} summed {format_bytes(4 * SIDE**2)}")


def _sum(world: World) -> None:
    values = torch.full((SIDE, SIDE), float(world.rank + 1), device=world.device)  # (SIDE, SIDE)
    expected = world.size * (world.size + 1) / 2
    if not bool((world.sum(values) == expected).all()):
        raise ArithmeticError(f"a sum over {world.size} ranks is wrong")


def main() -> None:
    count = int(sys.argv[2])
    if sys.argv[1] == "each":
        try_each([torch.device("cuda", number) for number in range(count)])
    else:
        _report("all-reduce", lambda device: try_all_reduce(count), torch.device("cuda"))


if __name__ == "__main__":
    main()
