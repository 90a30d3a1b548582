"""Batches of what a GPU has no room for: read by a thread and copied while the batch before them trains.

Two buffers take turns. Each is read into pinned host memory and copied from there on a stream of its own. Events keep
the order: host memory is not overwritten before its copy has ended, nor device memory before the batch in it was used.
On a CPU nothing is copied, and the order is the same.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

import torch
from torch import Tensor

from hwcls.errors import UserError
from hwcls.format import format_bytes

BUFFERS = 2
FEW = 2  # rows of a buffer for one image and its partner: less cannot be asked for

_log = logging.getLogger(__name__)


class Stage:
    """Makes batches of rows available on a device, in the order of `requests`, ahead of their use.

    Args:
        read: Writes some rows (n,) int64 of the data into host memory (n, P).
        requests: The rows of each batch; the thread that reads them iterates over it.
        shape: (n, P) of the largest batch.
        dtype: Of the data.
        device: Where batches are used.

    Raises:
        UserError: Memory of the device does not even hold single images.
        torch.OutOfMemoryError: It does not hold batches of this size; smaller ones may fit.
    """

    def __init__(
        self,
        read: Callable[[Tensor, Tensor], object],
        requests: Iterable[Tensor],
        shape: tuple[int, int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._read, self._requests = read, requests
        self._free: SimpleQueue[_Buffer | None] = SimpleQueue()  # None: the end
        self._ready: SimpleQueue[_Buffer | BaseException] = SimpleQueue()
        self._next = 0  # batch in `_ready`
        self._stream = _side_stream(device)
        for _ in range(BUFFERS):
            self._free.put(_new_buffer(shape, dtype, device, self._stream))
        self._thread: threading.Thread | None = threading.Thread(target=self._work, name="stage", daemon=True)
        self._thread.start()

    @contextmanager
    def batch(self, number: int) -> Iterator[Tensor | None]:
        """The data (n, P) of a batch on the device, for use within the `with` block; batches before it are skipped.

        None for a batch that was skipped, and after `close`. What the thread has raised is raised here.
        """
        if number < self._next or self._thread is None:
            yield None
            return
        while True:
            found = self._ready.get()
            if isinstance(found, BaseException):
                self._ready.put(found)  # for whoever asks again
                raise found
            self._next += 1
            try:
                if self._next > number:
                    yield found.filled()
                    return
            finally:
                found.release()
                self._free.put(found)

    def close(self) -> None:
        """End the thread; batches that were read in advance are dropped."""
        if self._thread is not None:
            self._free.put(None)
            self._thread.join()
            self._thread = None
            if self._stream is not None:  # its last copies write into memory that is free from here on
                torch.cuda.current_stream(self._stream.device).wait_stream(self._stream)

    def _work(self) -> None:
        try:
            for rows in self._requests:
                buffer = self._free.get()
                if buffer is None:
                    return
                buffer.fill(lambda out, rows=rows: self._read(rows, out), len(rows))  # type: ignore[misc]
                self._ready.put(buffer)
        except BaseException as error:
            self._ready.put(error)


class _Buffer:
    """Room for a batch in host memory."""

    def __init__(self, host: Tensor) -> None:
        self.host, self.count = host, 0

    def fill(self, read: Callable[[Tensor], object], count: int) -> None:
        """Let `read` write `count` rows."""
        self.count = count
        read(self.host[:count])

    def filled(self) -> Tensor:
        """What was read."""
        return self.host[: self.count]

    def release(self) -> None:
        """What was read is not used any more."""


class _CopiedBuffer(_Buffer):
    """The same, with a copy of it on a GPU that `stream` makes."""

    def __init__(self, host: Tensor, there: Tensor, stream: torch.cuda.Stream) -> None:
        super().__init__(host)
        self.there, self.stream = there, stream
        self.copied = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        self.used = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.release()  # work that is still queued may use the memory that `there` got

    def fill(self, read: Callable[[Tensor], object], count: int) -> None:
        self.copied.synchronize()
        super().fill(read, count)
        with torch.cuda.stream(self.stream):
            self.stream.wait_event(self.used)
            self.there[:count].copy_(self.host[:count], non_blocking=True)
            self.copied.record(self.stream)

    def filled(self) -> Tensor:
        torch.cuda.current_stream(self.stream.device).wait_event(self.copied)
        return self.there[: self.count]

    def release(self) -> None:
        self.used.record(torch.cuda.current_stream(self.stream.device))


def _side_stream(device: torch.device) -> torch.cuda.Stream | None:
    return torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]


@torch.inference_mode(False)  # the thread writes into it, whatever mode the batches are asked for in
def _new_buffer(
    shape: tuple[int, int], dtype: torch.dtype, device: torch.device, stream: torch.cuda.Stream | None
) -> _Buffer:
    if stream is None:
        return _Buffer(torch.empty(shape, dtype=dtype))
    try:
        there = torch.empty(shape, dtype=dtype, device=device)
    except torch.OutOfMemoryError:
        if shape[0] > FEW:
            raise
        what = f"no memory is left for {format_bytes(shape[0] * shape[1] * dtype.itemsize)} of pixels"
        remedy = "other processes use it: `nvidia-smi` names them"
        raise UserError(what, where=str(device), remedy=remedy) from None
    return _CopiedBuffer(_pinned(shape, dtype), there, stream)


def _pinned(shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Host memory that a GPU reads by itself; plain memory, from which copies are slower, where there is none left."""
    try:
        return torch.empty(shape, dtype=dtype, pin_memory=True)
    except RuntimeError as error:
        _log.info("no pinned memory for batches of data (%s)", str(error).split("\n", 1)[0])
    return torch.empty(shape, dtype=dtype)
