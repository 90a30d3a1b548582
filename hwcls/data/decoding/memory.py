"""How much memory all decoding threads of this process may take together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

MB = 1 << 20
SMALL = MB  # what takes less is not counted: as many as there are threads always fit
_FREE: AbstractContextManager[None] = nullcontext()


class MemoryBudget:
    """Bytes that threads share: who needs more than is left waits; what exceeds the whole budget runs alone."""

    def __init__(self, total: int) -> None:
        self.total, self._used = total, 0
        self._freed = threading.Condition()

    def reserve(self, size: int) -> AbstractContextManager[None]:
        """Hold `size` bytes for the duration of a `with` block; never take the same budget twice in one thread."""
        return _FREE if size < SMALL else self._hold(size)

    @contextmanager
    def _hold(self, size: int) -> Iterator[None]:
        size = min(size, self.total)
        with self._freed:
            self._freed.wait_for(lambda: self._used + size <= self.total)
            self._used += size
        try:
            yield
        finally:
            with self._freed:
                self._used -= size
                self._freed.notify_all()


# two, always taken in this order: whoever holds decoded pixels never waits for bytes, so that nothing blocks for ever
ENCODED = MemoryBudget(256 * MB)  # files as they are read
DECODED = MemoryBudget(512 * MB)  # their pixels
