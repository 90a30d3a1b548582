"""Times the steps of any training loop: some to warm up, those that count, and some more under a profiler."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import chain, cycle, repeat
from typing import Any

import torch

from benchmarks.on_gpu.kernels import Kernels, Profiler, Profiles
from hwcls.training.observer import Observer
from hwcls.training.trainer import Trainer

FEWEST = 5  # steps that count, however long they take
PROFILED = 20


class Window:
    """Is told of each step; `over` once it has seen enough.

    Args:
        device: It is waited for where the part that counts begins and ends.
        warm: Steps before that.
        seconds: Of that part, about.
        profiler: Sees PROFILED steps after it, None: no step.
    """

    def __init__(self, device: torch.device, warm: int, seconds: float, profiler: Profiles | None = None) -> None:
        self.device, self.warm, self.seconds, self.profiler = device, warm, seconds, profiler
        self.steps, self.images, self.elapsed = 0, 0, 0.0
        self.kernels: Kernels | None = None
        self.over = False
        self._warmed, self._profiled = 0, 0
        self._start = self._began = time.perf_counter()

    @classmethod
    def of(cls, device: torch.device, warm: int, seconds: float) -> Window:
        """With a profiler where that sees kernels."""
        return cls(device, warm, seconds, Profiler() if device.type == "cuda" else None)

    def after_step(self, images: int) -> None:
        """A step of so many images has been made, or queued on the device."""
        if self._warmed < self.warm:
            self._warmed += 1
            if self._warmed == self.warm:
                self._start = self._now()
        elif not self.elapsed:
            self.steps += 1
            self.images += images
            if self.steps >= FEWEST and time.perf_counter() - self._start > self.seconds:
                self.elapsed = self._now() - self._start
                self._profile()
        else:
            self._profiled += 1
            if self.profiler is not None and self._profiled == PROFILED:
                self.kernels, self.over = self.profiler.stop(PROFILED), True

    def follow(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The (images, labels) batches of a loop, each of which is a step, as long as they are needed."""
        for batch in batches:
            yield batch
            self.after_step(len(batch[1]))
            if self.over:
                return

    @property
    def start_seconds(self) -> float:
        """What the first steps took more than later ones: compiling, capturing, choosing kernels."""
        return max(0.0, self._start - self._began - self.warm * self.elapsed / max(1, self.steps))

    def row(self) -> dict[str, Any]:
        """Speed, and what the profiler saw."""
        each = self.elapsed / self.steps
        found = {"images_per_second": self.images / self.elapsed, "step_ms": 1000 * each}
        kernels = self.kernels
        return found | {
            "launches": kernels and kernels.launches,
            "kernels": kernels and kernels.kernels,
            "busy_share": kernels and min(1.0, kernels.busy / each),  # a profiler slows the host: not of its own time
        }

    def _profile(self) -> None:
        if self.profiler is None:
            self.over = True
        else:
            self.profiler.start()

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


class WindowIsOver(Exception):
    """Ends the epoch of a Trainer."""


class WindowObserver(Observer):
    """Tells a Window of the steps of a Trainer."""

    def __init__(self) -> None:
        self.window: Window | None = None
        self.sizes: Iterator[int] = repeat(0)  # images of the next steps

    def after_step(self) -> None:
        """Raises WindowIsOver in the last step."""
        if self.window is not None:
            self.window.after_step(next(self.sizes))
            if self.window.over:
                raise WindowIsOver


def time_steps(trainer: Trainer, observer: WindowObserver, window: Window) -> None:
    """Train without evaluation until the window is over; the trainer is of no use afterwards."""
    steps, batch = trainer.feed.steps, trainer.config.data.batch_size
    last = min(batch, len(trainer.data.train) - (steps - 1) * batch)
    observer.window, observer.sizes = window, cycle(chain(repeat(batch, steps - 1), [last]))
    epoch = 0
    try:
        while True:
            epoch += 1
            trainer.train_epoch(epoch)
    except WindowIsOver:
        pass
