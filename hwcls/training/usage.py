"""How a trial uses its device: the share of time without a step, the time of an image, memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from hwcls.training.timer import Timer


class Usage:
    """Measured on one rank from the start of a trial's first epoch, over resumes; building and what is lost in a
    crash do not count.

    Attributes:
        inference: Seconds of an image, in batches, of the fastest validation; infinite before the first.
        memory: The most bytes of tensors at once in the training of the first epoch, on a GPU, 0 before its end; of the
            first in which as much of the model is trained as later on.
        idle: Seconds in which no step of training or evaluation ran.
        wall: Seconds in all, to the end of the last epoch.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.inference, self.memory, self.idle, self.wall = math.inf, 0, 0.0, 0.0
        self._since: float | None = None  # the end of the last epoch
        self._parts: list[Callable[[], float]] = []  # seconds of the epoch's steps

    def begin_epoch(self) -> None:
        """Call before an epoch; what passes between two of them counts."""
        self._parts = []
        if self._since is None:
            self._since = time.perf_counter()

    @contextmanager
    def steps(self) -> Iterator[None]:
        """The block queues steps, and nothing else."""
        timer = Timer(self.device)
        yield
        self._parts.append(timer.stop())

    @contextmanager
    def training(self) -> Iterator[None]:
        """As `steps`, of training: its memory is measured, once: later a snapshot may be on the device as well."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        with self.steps():
            yield
        if self.device.type == "cuda" and not self.memory:
            self.memory = torch.cuda.max_memory_allocated(self.device)

    def seconds(self, part: int) -> float:
        """Of one block of this epoch, once the device has got as far."""
        return self._parts[part]()

    def end_epoch(self) -> None:
        """Call when the device has worked off all steps."""
        assert self._since is not None, "begin_epoch() comes first"
        now = time.perf_counter()
        wall, self._since = now - self._since, now
        self.wall += wall
        self.idle += max(0.0, wall - sum(part() for part in self._parts))

    @property
    def idle_share(self) -> float | None:
        """In [0, 1]; None before the end of an epoch."""
        return self.idle / self.wall if self.wall else None

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"inference": self.inference, "memory": self.memory, "idle": self.idle, "wall": self.wall}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`'s result, or from a part of it."""
        self.inference, self.memory = state.get("inference", math.inf), state.get("memory", 0)
        self.idle, self.wall = state.get("idle", 0.0), state.get("wall", 0.0)
