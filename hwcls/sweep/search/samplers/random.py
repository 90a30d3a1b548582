"""Random search."""

from __future__ import annotations

from typing import Any, ClassVar

from hwcls.config.sweep import SAMPLERS, Searched, SearchMethod


@SAMPLERS.register("random")
class Random(SearchMethod):
    """Every parameter by chance."""

    seeded_by_trial = True
    several_metrics: ClassVar[bool] = True

    def sampler(self, seed: int, searched: Searched) -> Any:
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)
