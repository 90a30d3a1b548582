"""Alternatives with fewer points than trials: each point is tried once, then again on further seeds, in turn.

A sampler would repeat its favourite while other points wait. A repeat is a trial with a seed of its own.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from hwcls.config.sweep_file import Sweep

Key = frozenset[tuple[str, Any]]


class FiniteSpace:
    """The points of such alternatives, in random order.

    Args:
        sweep: The sweep; a grid pins its own points.
    """

    def __init__(self, sweep: Sweep) -> None:
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


def _key(settings: Mapping[str, Any]) -> Key:
    """Equal for equal settings; steps of a range are summed up in different ways."""
    return frozenset((name, round(v, 12) if isinstance(v, float) else v) for name, v in settings.items())
