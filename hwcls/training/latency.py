"""How long a model takes for a single image, as `hwcls profile` and the records of a trial say it."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn

from hwcls.training.step.precision import Precision

RUNS = 20  # of which the median counts


def now(device: torch.device) -> float:
    """Seconds on a clock, once the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def median_seconds(call: Callable[[], object], device: torch.device, runs: int = RUNS) -> float:
    """The median of so many calls, after one that is not timed."""
    call()
    times = []
    for _ in range(runs):
        started = now(device)
        call()
        times.append(now(device) - started)
    return median(times)


@torch.no_grad()
def image_seconds(model: nn.Module, image: Tensor, precision: Precision) -> float:
    """Seconds of one image (1, C, H, W), on its device and in evaluation mode, in which the model is left."""
    model.eval()
    with precision.autocast():
        return median_seconds(lambda: model(image), image.device)
