"""TPE (tree-structured Parzen estimator): draws near the settings of good trials."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from hwcls.config.sweep import SAMPLERS, Searched, SearchMethod


@SAMPLERS.register("tpe")
class Tpe(SearchMethod):
    """Multivariate TPE, in groups for parameters that only some trials have."""

    several_metrics: ClassVar[bool] = True
    pauses_trials: ClassVar[bool] = False  # which are so alike that a first epoch tells little (benchmarks/replay.py)

    def sampler(self, seed: int, searched: Searched) -> Any:
        from optuna.exceptions import ExperimentalWarning

        from hwcls.sweep.search.bounded_tpe import BoundedTPE
        from hwcls.sweep.search.sampling.front import FrontSampler
        from hwcls.sweep.search.sampling.pinned_tpe import PinnedTPE

        if searched.metrics > 1:
            return FrontSampler(seed, searched.compared, few=None)
        options: dict[str, Any] = {"seed": seed, "multivariate": True, "group": True, "constant_liar": True}
        options["at_once"] = searched.at_once
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return PinnedTPE(searched.compared, **options) if searched.compared else BoundedTPE(**options)
