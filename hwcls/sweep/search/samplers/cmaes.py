"""CMA-ES (covariance matrix adaptation evolution strategy)."""

from __future__ import annotations

from typing import Any, ClassVar

from hwcls.config.sweep import SAMPLERS, Searched, SearchMethod


@SAMPLERS.register("cmaes")
class CmaEs(SearchMethod):
    """CMA-ES over the ranges that every trial of an alternative has; everything else is drawn by chance."""

    package: ClassVar[str | None] = "cmaes"
    extra: ClassVar[str | None] = "cmaes"

    def sampler(self, seed: int, searched: Searched) -> Any:
        from hwcls.sweep.search.sampling.alternative_cmaes import AlternativeCmaEs

        return AlternativeCmaEs(seed, searched.compared)
