"""Progress of the features that are computed before the first trial: images done of all, images/s, the time left."""

from __future__ import annotations

import logging
import time

from hwcls.format import format_duration

log = logging.getLogger(__name__)

EVERY = 10.0  # seconds between two lines


class ExtractionPace:
    """Logs a line now and then.

    Args:
        total: Images in all; each view of a training image counts.
        done: Those whose features were there before this start.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self.total, self.done = total, done
        self.first: tuple[float, int] | None = None  # when the first new images were seen, and how many were done
        self.logged = time.monotonic()

    def update(self, done: int) -> None:
        """Note that `done` images are done; what a node that left had computed may be missing again."""
        now = time.monotonic()
        if self.first is None and done > self.done:
            self.first = now, done
        self.done = done
        if now - self.logged >= EVERY:
            self.logged = now
            log.info("features: %s", str(self))

    @property
    def rate(self) -> float | None:
        """Images per second of this start; None while unknown. The start of the processes does not count."""
        if self.first is None or self.done <= self.first[1]:
            return None
        return (self.done - self.first[1]) / max(time.monotonic() - self.first[0], 1e-9)

    def __str__(self) -> str:
        parts = [f"{self.done:,} of {self.total:,} images"]
        if rate := self.rate:
            parts += [f"{rate:,.0f} images/s" if rate >= 10 else f"{rate:.2g} images/s"]
            parts += [f"{format_duration((self.total - self.done) / rate)} left"]
        return ", ".join(parts)
