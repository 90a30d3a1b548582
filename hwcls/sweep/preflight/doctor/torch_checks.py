"""What the doctor asks torch, in a process of its own: its import may crash, and takes seconds in which Ray starts.

Run as `python -m`, it prints each result at once, as a line of JSON.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

from hwcls.sweep.preflight.doctor.check import Check, read_checks, write_check
from hwcls.sweep.preflight.doctor.gpus import LIMIT, check_gpus
from hwcls.training.gpu import run_apart

MODULE = "hwcls.sweep.preflight.doctor.torch_checks"
REMEDY = "install both from the same index: pip install --force-reinstall torch torchvision"


def ask_torch() -> list[Check]:
    """Run the checks in that process; if it crashes or hangs, this is the last of them."""
    output, failure = run_apart(["-m", MODULE], 3 * LIMIT)  # the trials of GPUs have a limit each
    found = read_checks(output)
    if failure:
        found.append(Check("torch", "wrong", f"cannot be tried: {failure}", REMEDY))
    return found


def check_torch() -> Iterator[Check]:
    """Whether torchvision fits torch, where it does not, and the GPUs."""
    try:
        import torchvision  # noqa: F401  (its operators must fit torch)
    except (ImportError, RuntimeError, OSError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        yield Check("torchvision", "wrong", f"cannot be imported: {lines[0][:200]}", REMEDY)
    yield from check_gpus()


def main() -> None:
    gc.disable()  # it would take a third of the time that torch is imported in
    for check in check_torch():
        write_check(check)
    gc.freeze()


if __name__ == "__main__":
    main()
