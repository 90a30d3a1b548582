"""Grid search."""

from __future__ import annotations

from typing import Any, ClassVar

from hwcls.config.sweep import SAMPLERS, Searched, SearchMethod


@SAMPLERS.register("grid")
class Grid(SearchMethod):
    """Every combination once, pinned by the search, so that the sampler has nothing to draw."""

    enumerates = True
    several_metrics: ClassVar[bool] = True

    def sampler(self, seed: int, searched: Searched) -> Any:
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)
