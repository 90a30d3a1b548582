"""Seconds of work on a device, also where the work is only queued."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


class Timer:
    """Times the work queued since its creation: on a GPU by events, which need no sync until they are read."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.start = device, time.perf_counter()
        if device.type == "cuda":
            self.events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
            self.events[0].record()

    def stop(self) -> Callable[[], float]:
        """Stop here; the returned function gives the seconds once the device has got this far."""
        if self.device.type == "cuda":
            self.events[1].record()
            return lambda: float(self.events[0].elapsed_time(self.events[1])) / 1000
        seconds = time.perf_counter() - self.start
        return lambda: seconds
