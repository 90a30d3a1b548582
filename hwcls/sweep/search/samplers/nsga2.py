"""NSGA-II, an evolution of trials that no other one beats in all metrics."""

from __future__ import annotations

from typing import Any, ClassVar

from hwcls.config.sweep import SAMPLERS, Searched, SearchMethod


@SAMPLERS.register("nsga2")
class Nsga2(SearchMethod):
    """Optuna's NSGA-II (Deb et al. 2002) for several metrics: it needs hundreds of trials."""

    one_metric: ClassVar[bool] = False
    several_metrics: ClassVar[bool] = True

    def sampler(self, seed: int, searched: Searched) -> Any:
        from hwcls.sweep.search.sampling.front import FrontSampler

        return FrontSampler(seed, searched.compared, few=0)
