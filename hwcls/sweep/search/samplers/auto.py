"""A Gaussian process while trials are few, TPE when they are many."""

from __future__ import annotations

from typing import Any

from hwcls.config.sweep import SAMPLERS, Searched, SearchMethod


@SAMPLERS.register("auto")
class Auto(SearchMethod):
    """`gp` for the first hundreds of trials, then `tpe`."""

    def sampler(self, seed: int, searched: Searched) -> Any:
        from hwcls.sweep.search.sampling.auto import AutoSampler

        return AutoSampler(SAMPLERS["gp"]().sampler(seed, searched), SAMPLERS["tpe"]().sampler(seed, searched))
