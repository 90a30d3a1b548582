"""ASHA: asynchronous successive halving (arXiv 1810.05934)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from hwcls.config.sweep import EARLY_STOPPING, EarlyStopping, StoppingRule
from hwcls.sweep.search.stopping.promotion import LEAST, Promotion, expected_epochs, going_on

RULE: Literal["promotion", "stopping"] = "promotion"  # where the file leaves it open


@EARLY_STOPPING.register("asha")
class Asha(EarlyStopping):
    """At each rung the best 1/eta by their best value so far continue.

    Under `stopping` a trial that is among them when it comes continues, another one ends. Under `promotion` it waits:
    it continues if it is among them later, so that it pays to decide from the first epochs on. At the
    end at least six trials of each alternative are trained for all epochs.
    """

    eta: int = Field(
        3, ge=2, description="One in `eta` trials continues at each rung; rungs are `eta` times as far apart."
    )
    rule: Literal["promotion", "stopping"] | None = Field(
        None,
        description="promotion: a trial pauses at a rung and resumes if it is among the best later; stopping: it ends."
        " By default promotion, with method: tpe stopping.",
        examples=["promotion"],
    )

    @property
    def pauses(self) -> bool:
        return (self.rule or RULE) == "promotion"

    def spell_out(self, *, before: str | None, may_pause: bool) -> EarlyStopping:
        chosen = before or (RULE if may_pause else "stopping")
        return self if self.rule else self.model_copy(update={"rule": chosen})

    def first_rung(self, epochs: int) -> int:
        return -(-epochs // 27) if self.pauses else super().first_rung(epochs)

    def race(self, first: int, epochs: int, mode: str) -> StoppingRule:
        if self.pauses:
            return Promotion(self.rungs(first, epochs), mode, self.eta)
        return SuccessiveHalving(first, epochs, mode, self.eta)

    def rungs(self, first: int, epochs: int) -> list[int]:
        found = []
        while first < epochs:
            found.append(first)
            first *= self.eta
        return found

    def expected_epochs(self, first: int, epochs: int, trials: int) -> int | None:
        return expected_epochs(self.rungs(first, epochs), epochs, self.eta, trials) if self.pauses else None

    def most_paused(self, first: int, epochs: int, trials: int) -> int:
        rungs = len(self.rungs(first, epochs)) if self.pauses else 0
        waiting = sum(going_on(trials, self.eta, place) for place in range(1, rungs + 1))
        return min(trials, max(waiting, LEAST * self.eta**rungs)) if rungs else 0  # all, until LEAST are at their end


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
