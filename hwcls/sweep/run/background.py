"""A call in a thread, whose error interrupts the main thread at once."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """A call in a daemon thread; an interrupt does not wait for it."""

    def __init__(self, call: Callable[[], T]) -> None:
        self.done: SimpleQueue[T | BaseException] = SimpleQueue()
        self.error: BaseException | None = None
        self.lock, self.interrupts = threading.Lock(), False  # whether a failure interrupts the main thread
        threading.Thread(target=self._run, args=(call,), daemon=True).start()

    def _run(self, call: Callable[[], T]) -> None:
        try:
            self.done.put(call())
        except BaseException as error:  # raised again in `result`
            with self.lock:
                self.error = error
                self.done.put(error)
                if self.interrupts:
                    _thread.interrupt_main()

    @contextmanager
    def raises_here(self) -> Iterator[None]:
        """Raise the call's error in the block as soon as there is one, until `result` is called."""
        try:
            with self.lock:
                if self.error is not None:
                    raise self.error
                self.interrupts = threading.current_thread() is threading.main_thread()
            yield
        except KeyboardInterrupt:
            if self.error is not None:
                raise self.error from None
            raise
        finally:
            with self.lock:
                self.interrupts = False

    def result(self) -> T:
        """Wait for the call; its value or its error."""
        with self.lock:
            self.interrupts = False
        found = self.done.get()
        if isinstance(found, BaseException):
            raise found
        return found
