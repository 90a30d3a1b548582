"""Alternatives with fewer points than trials: each point is tried once, then again on further seeds, in turn.

A sampler would repeat its favourite while other points wait. A repeat is a trial with a seed of its own.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial

from hwcls.config.sweep_file import Sweep
from hwcls.sweep.search.optuna_private import drawn_or_pinned

Key = frozenset[tuple[str, Any]]


class FiniteSpace:
    """The points of such alternatives, in random order; those of a grid in its own.

    Args:
        sweep: The sweep.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.grid, self.open = sweep.grid or [], deque[dict[str, Any]]()  # open: the points that no trial has
        self.points: dict[str | None, dict[Key, dict[str, Any]]] = {}
        self.counts, self.counted = Counter[Key](), 0  # how often each was tried, by so many trials
        for label, trials, size in () if sweep.grid is not None else sweep.sizes:
            if size <= trials:
                pinned = next((dict(one.settings) for one in sweep.alternatives if one.label == label), {})
                points = sweep.space.grid(pinned)
                random.Random(sweep.config.seed).shuffle(points)
                self.add(label, points)

    def add(self, label: str | None, points: Iterable[dict[str, Any]]) -> None:
        """Have an alternative try these points, in this order."""
        self.points[label] = {_key(point): point for point in points}

    def next(self, label: str | None, tried: Callable[[], Sequence[FrozenTrial]]) -> dict[str, Any]:
        """The point of an alternative that was tried least, the first of several; empty where the sampler draws.

        Args:
            label: The alternative; None without `compare`.
            tried: Gives all trials so far, with all their settings; those of an earlier call are not counted again.
        """
        if label not in self.points:
            return {}
        known = tried()
        self.counts.update(_key(drawn_or_pinned(trial)) for trial in known[self.counted :])
        self.counted = len(known)
        points = self.points[label]
        return points[min(points, key=self.counts.__getitem__)]

    def begin_grid(self, tried: Iterable[Mapping[str, Any]]) -> None:
        """Leave the points of the grid open that no trial has; `tried`: the settings of all of earlier starts."""
        known = set(map(_key, tried))
        self.open.extend(point for point in self.grid if _key(point) not in known)


def _key(settings: Mapping[str, Any]) -> Key:
    """Equal for equal settings; steps of a range are summed up in different ways."""
    return frozenset((name, round(v, 12) if isinstance(v, float) else v) for name, v in settings.items())
