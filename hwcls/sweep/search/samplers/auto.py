"""What fits the number of metrics and of trials."""

from __future__ import annotations

from typing import Any, ClassVar

from hwcls.config.sweep import SAMPLERS, Searched, SearchMethod


@SAMPLERS.register("auto")
class Auto(SearchMethod):
    """`gp` for the first hundreds of trials, then `tpe`; for several metrics `tpe`, then `nsga2`."""

    several_metrics: ClassVar[bool] = True

    def sampler(self, seed: int, searched: Searched) -> Any:
        if searched.metrics > 1:
            from hwcls.sweep.search.sampling.front import FEW, FrontSampler

            return FrontSampler(seed, searched.compared, FEW)
        from hwcls.sweep.search.sampling.auto import AutoSampler

        return AutoSampler(SAMPLERS["gp"]().sampler(seed, searched), SAMPLERS["tpe"]().sampler(seed, searched))
