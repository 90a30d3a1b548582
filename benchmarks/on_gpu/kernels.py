"""Kernels and launches of some steps, by torch.profiler."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity

LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cuGraphLaunch")  # and what begins so
COPIES = ("Memcpy", "Memset")


@dataclass(frozen=True)
class Kernels:
    """What the GPU did, a step."""

    launches: float  # calls of the host; a graph is one
    kernels: float
    busy: float  # seconds in which at least one kernel or copy ran


class Profiles(Protocol):
    """What a Window needs of a profiler."""

    def start(self) -> None:
        """Begin to record."""

    def stop(self, steps: int) -> Kernels:
        """The kernels of the steps since `start`."""


class Profiler:
    """torch.profiler over some steps."""

    def __init__(self) -> None:
        os.environ.setdefault("DISABLE_CUPTI_LAZY_REINIT", "1")  # it would crash with CUDA graphs, as torch says
        os.environ.setdefault("TEARDOWN_CUPTI", "0")
        with _recording():  # begins to watch the GPU: kernels of graphs captured before would not be seen
            torch.cuda.synchronize()
        self.profile = _recording()

    def start(self) -> None:
        """Begin to record."""
        self.profile.start()

    def stop(self, steps: int) -> Kernels:
        """The kernels of the steps since `start`."""
        torch.cuda.synchronize()
        self.profile.stop()
        return count_kernels(self.profile.events() or [], steps)


def _recording() -> torch.profiler.profile:
    return torch.profiler.profile(activities=[ProfilerActivity.CUDA])  # has the launches too


def count_kernels(events: Iterable[Any], steps: int) -> Kernels:
    """From the profiler's events: those of the GPU, and the host's calls that launch them."""
    launches, kernels, spans = 0, 0, []
    for event in events:
        if event.device_type == DeviceType.CUDA:
            if not event.is_user_annotation:
                kernels += not event.name.startswith(COPIES)
                spans.append((event.time_range.start, event.time_range.end))  # microseconds
        else:
            launches += event.name.startswith(LAUNCHES)
    return Kernels(launches / steps, kernels / steps, covered(spans) / 1e6 / steps)


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """The length of the union of some intervals: kernels of several streams overlap."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
