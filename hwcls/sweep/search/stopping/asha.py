"""ASHA: asynchronous successive halving (arXiv 1810.05934)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from hwcls.config.sweep import EARLY_STOPPING, EarlyStopping, StoppingRule


@EARLY_STOPPING.register("asha")
class Asha(EarlyStopping):
    """At each rung the best 1/eta by their best value so far continue."""

    eta: int = Field(3, ge=2)

    def rule(self, first: int, epochs: int, mode: str) -> StoppingRule:
        return SuccessiveHalving(first, epochs, mode, self.eta)

    def rungs(self, first: int, epochs: int) -> list[int]:
        found = []
        while first < epochs:
            found.append(first)
            first *= self.eta
        return found


@dataclass(frozen=True)
class _Named:
    """The one thing that Ray's scheduler reads of a trial: a name, here one that stays after a restart."""

    trial_id: str


class SuccessiveHalving:
    """Ray's AsyncHyperBandScheduler with one bracket, as a StoppingRule."""

    def __init__(self, first: int, epochs: int, mode: str, eta: int) -> None:
        from ray.tune.schedulers import AsyncHyperBandScheduler

        self.known: set[str] = set()
        self.scheduler: Any = AsyncHyperBandScheduler(
            time_attr="epoch", metric="best", mode=mode, grace_period=first, max_t=epochs, reduction_factor=eta
        )

    def stops(self, key: str, epoch: int, value: float | None, best: float) -> bool:
        trial = _Named(key)
        if key not in self.known:
            self.known.add(key)
            self.scheduler.on_trial_add(None, trial)
        action = self.scheduler.on_trial_result(None, trial, {"epoch": epoch, "best": best})
        return bool(action == self.scheduler.STOP)
