"""Shares: how the alternatives of a sweep share its budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Unit = Literal["trials", "epochs", "seconds"]
Had = Mapping[str, float] | Mapping[str | None, float]  # by alternative; None: trials of no alternative


@dataclass(frozen=True)
class Shares:
    """Every alternative gets equally much of `unit`: the next trial belongs to the one that has had least."""

    labels: tuple[str, ...]  # the alternatives in the file's order; empty when the sweep compares nothing
    unit: Unit
    total: int | None  # trials in all; None where only time ends the search
    points: tuple[str | None, ...] | None = None  # the alternative of each point of a grid; None: no grid

    def next(self, had: Mapping[Unit, Had]) -> str:
        """The alternative whose turn it is.

        Args:
            had: For each unit, what each alternative has had so far (a missing one: nothing). Where two have had
                equally much of `unit`, the one with fewer trials is next, then the first in the file.
        """
        return min(self.labels, key=lambda label: (had[self.unit].get(label, 0), had["trials"].get(label, 0)))

    def trials_each(self) -> dict[str, int] | None:
        """How many trials each alternative gets; None where that is known only at the end."""
        if self.points is not None:
            counts = Counter(self.points)
            return {label: counts[label] for label in self.labels}
        if self.total is None or self.unit != "trials":
            return None
        count = len(self.labels)
        return {label: self.total // count + (i < self.total % count) for i, label in enumerate(self.labels)}
