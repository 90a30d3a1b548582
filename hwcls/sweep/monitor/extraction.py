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
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = self.new = 0
        self.first: tuple[float, int] | None = None  # when the first new images were seen, and how many
        self.logged = time.monotonic()

    def update(self, done: int, before: int) -> None:
        """Note that `done` images are done, `before` of them before this start; a node that left has none."""
        now = time.monotonic()
        self.done, self.new = done, done - before
        if self.first is None and self.new > 0:
            self.first = now, self.new
        if now - self.logged >= EVERY and done < self.total:
            self.logged = now
            log.info("features: %s", str(self))

    @property
    def rate(self) -> float | None:
        """Images per second of this start; None while unknown. The start of the processes does not count."""
        if self.first is None or self.new <= self.first[1]:
            return None
        return (self.new - self.first[1]) / max(time.monotonic() - self.first[0], 1e-9)

    def __str__(self) -> str:
        parts = [f"{self.done:,} of {self.total:,} images"]
        if rate := self.rate:
            parts += [f"{rate:,.0f} images/s" if rate >= 10 else f"{rate:.2g} images/s"]
            parts += [f"{format_duration((self.total - self.done) / rate)} left"]
        return ", ".join(parts)
