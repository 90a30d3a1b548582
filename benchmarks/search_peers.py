"""Samplers of other packages for benchmarks/search.py, where they are installed: HEBO, syne-tune's CQR.

HEBO 0.3.6 pins old versions of what it works with: install it and gpytorch, pymoo, linear_operator, jaxtyping and
disjoint-set with --no-deps. An ask takes it seconds.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from hwcls.config.space import Parameter, Range

Settings = dict[str, Any]


class Peer(ABC):
    """A sampler for one alternative, whose parameters are all there, also those of branches that are not taken."""

    @abstractmethod
    def ask(self) -> tuple[Any, Settings]:
        """What `tell` takes, and the settings."""

    @abstractmethod
    def tell(self, asked: Any, value: float) -> None:
        """The value of a trial; larger is better."""


class Hebo(Peer):
    """Huawei's HEBO: a Gaussian process with warped input and output, several acquisition functions."""

    def __init__(self, parameters: Sequence[Parameter], seed: int) -> None:
        import numpy as np
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO

        np.random.seed(seed)
        self.parameters = parameters
        self.inner = HEBO(DesignSpace().parse([_hebo(one) for one in parameters]), scramble_seed=seed)

    def ask(self) -> tuple[Any, Settings]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            asked = self.inner.suggest(n_suggestions=1)
        return asked, {p.name: _plain(p, asked[p.name].iloc[0]) for p in self.parameters}

    def tell(self, asked: Any, value: float) -> None:
        import numpy as np

        self.inner.observe(asked, np.array([[-value]]))


def _hebo(parameter: Parameter) -> dict[str, Any]:
    if not isinstance(parameter, Range):
        return {"name": parameter.name, "type": "cat", "categories": [str(at) for at in range(len(parameter.grid()))]}
    kind = {(False, False): "num", (True, False): "int", (False, True): "pow", (True, True): "pow_int"}
    ends = {"lb": parameter.ends()[0], "ub": parameter.ends()[-1]}
    return {"name": parameter.name, "type": kind[parameter.integer, parameter.log], **ends, "base": 10}


def _plain(parameter: Parameter, value: Any) -> Any:
    if not isinstance(parameter, Range):
        return parameter.grid()[int(value)]
    return round(value) if parameter.integer else float(value)


class Cqr(Peer):
    """Amazon's syne-tune: conformal quantile regression."""

    def __init__(self, parameters: Sequence[Parameter], seed: int) -> None:
        from syne_tune import config_space as cs
        from syne_tune.optimizer.baselines import CQR

        def entry(parameter: Parameter) -> Any:
            if not isinstance(parameter, Range):
                return cs.choice([str(at) for at in range(len(parameter.grid()))])
            if parameter.integer:
                return (cs.lograndint if parameter.log else cs.randint)(*parameter.ends())
            return (cs.loguniform if parameter.log else cs.uniform)(*parameter.ends())

        self.parameters, self.count = parameters, 0
        space = {parameter.name: entry(parameter) for parameter in parameters}
        self.inner = CQR(space, metric="value", do_minimize=False, random_seed=seed)

    def ask(self) -> tuple[Any, Settings]:
        from datetime import datetime

        from syne_tune.backend.trial_status import Trial

        config = self.inner.suggest().config
        trial = Trial(trial_id=self.count, config=config, creation_time=datetime.now())
        self.inner.on_trial_add(trial)
        self.count += 1
        return trial, {p.name: _plain(p, config[p.name]) for p in self.parameters}

    def tell(self, asked: Any, value: float) -> None:
        self.inner.on_trial_complete(asked, {"value": value})


PEERS: dict[str, tuple[str, type[Peer]]] = {"syne-tune CQR": ("syne_tune", Cqr), "HEBO": ("hebo", Hebo)}
