"""Hyperband: ASHA in several brackets, of which the later ones spare trials for longer (arXiv 1603.06560)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hwcls.config.sweep import EARLY_STOPPING
from hwcls.sweep.search.stopping.asha import Asha


@EARLY_STOPPING.register("hyperband")
class Hyperband(Asha):
    """As ASHA; some trials start at a later rung, some are never stopped."""

    rule: Literal["stopping"] = Field("stopping", description="A trial that is not among the best at a rung ends.")

    def brackets(self, first: int, epochs: int) -> list[tuple[int, float]]:
        most = 0
        while first * self.eta**most < epochs:
            most += 1
        sizes = [(most + 1) / (s + 1) * self.eta**s for s in range(most, -1, -1)]
        rungs = [min(first * self.eta**bracket, epochs) for bracket in range(most + 1)]
        return [(rung, size / sum(sizes)) for rung, size in zip(rungs, sizes, strict=True)]
