"""Seconds of training, also where the work is only queued."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


class Clock:
    """Seconds of work queued so far: by events on a GPU, which need no sync until they are read."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.start = device, time.perf_counter()
        if device.type == "cuda":
            self.events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
            self.events[0].record()

    def stop(self) -> Callable[[], float]:
        """Stop here; the returned function tells the seconds once the device has got this far."""
        if self.device.type == "cuda":
            self.events[1].record()
            return lambda: float(self.events[0].elapsed_time(self.events[1])) / 1000
        seconds = time.perf_counter() - self.start
        return lambda: seconds
