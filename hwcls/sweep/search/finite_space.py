"""Alternatives with fewer points than trials: each point is tried once, then again on further seeds, in turn.

A sampler would repeat its favourite while other points wait. A repeat is a trial with a seed of its own.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any

from hwcls.config.sweep_file import Sweep

Key = frozenset[tuple[str, Any]]


class FiniteSpace:
    """The points of such alternatives, in random order; those of a grid in its own.

    Args:
        sweep: The sweep.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.grid, self.open = sweep.grid or [], deque[dict[str, Any]]()
        self.points: dict[str | None, list[dict[str, Any]]] = {}
        for label, trials, size in () if sweep.grid is not None else sweep.sizes:
            if size <= trials:
                pinned = next((dict(one.settings) for one in sweep.alternatives if one.label == label), {})
                self.points[label] = sweep.space.grid(pinned)
                random.Random(sweep.config.seed).shuffle(self.points[label])

    def next(self, label: str | None, tried: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """The point of an alternative that was tried least, the first of several; empty where the sampler draws.

        Args:
            label: The alternative; None without `compare`.
            tried: The settings of all trials so far, by name.
        """
        if label not in self.points:
            return {}
        counts = Counter(map(_key, tried))
        return min(self.points[label], key=lambda point: counts[_key(point)])

    def next_of_grid(self, tried: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """The next point of the grid that no trial has; `tried` as `next` takes it, by the first call alone."""
        if not self.open:
            known = set(map(_key, tried))
            self.open.extend(point for point in self.grid if _key(point) not in known)
        return self.open.popleft()


def _key(settings: Mapping[str, Any]) -> Key:
    """Equal for equal settings; steps of a range are summed up in different ways."""
    return frozenset((name, round(v, 12) if isinstance(v, float) else v) for name, v in settings.items())
