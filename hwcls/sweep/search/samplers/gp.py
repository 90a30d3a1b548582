"""Bayesian optimisation with a Gaussian process."""

from __future__ import annotations

from typing import Any, ClassVar

from hwcls.config.sweep import SAMPLERS, Searched, SearchMethod


@SAMPLERS.register("gp")
class Gp(SearchMethod):
    """A Gaussian process of the best and the latest trials."""

    start: ClassVar[int] = 6

    def sampler(self, seed: int, searched: Searched) -> Any:
        from hwcls.sweep.search.sampling.gp import GaussianProcessSampler

        return GaussianProcessSampler(searched.seed, searched, self.start)
