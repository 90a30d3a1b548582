"""Checkpoints that a thread writes while the trainer runs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

from hwcls.training.snapshot import Snapshot, take_snapshot
from hwcls.training.trainer import Trainer

T = TypeVar("T")


class CheckpointWriter(Generic[T]):
    """Writes one checkpoint after the other; what goes wrong in the thread is raised by the next call.

    Args:
        last: Whether each has the latest weights as well, as last.safetensors.
        whole: Whether weights include those of a frozen backbone: files that will be kept.
    """

    def __init__(self, *, last: bool = False, whole: bool = False) -> None:
        self.last, self.whole = last, whole
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._running: Future[T] | None = None

    def begin(self, trainer: Trainer, write: Callable[[Snapshot], T]) -> None:
        """Take a snapshot and have the thread `write` it, once the one before is written."""
        self.wait()
        snapshot = take_snapshot(trainer, last=self.last, whole=self.whole)
        self._running = self._thread.submit(write, snapshot)

    @property
    def done(self) -> bool:
        """Whether `wait` would return at once."""
        return self._running is None or self._running.done()

    def wait(self) -> T | None:
        """Wait for the thread; what `write` returned, None where nothing was begun since the last call."""
        running, self._running = self._running, None
        return None if running is None else running.result()

    def settle(self) -> None:
        """Wait for the thread where another error is raised already."""
        with suppress(Exception):
            self.wait()
