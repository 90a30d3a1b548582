"""Early stopping: ASHA with rungs of their own for each alternative, rebuilt from the records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from hwcls.config.load import Sweep, check_corners
from hwcls.config.sweep import AshaConfig
from hwcls.sweep.rungs import rungs


@dataclass(frozen=True)
class _Named:
    """What ASHA needs of a trial: a name that outlives a restart."""

    trial_id: str


class FairAsha(FIFOScheduler):  # type: ignore[misc]
    """Ray's ASHA, one instance per alternative; a rung sees the best value so far (arXiv 1810.05934)."""

    metric = "best"

    def __init__(self, asha: AshaConfig, first: int, epochs: int, goal: str) -> None:
        super().__init__()
        self.settings = {
            "time_attr": "epoch",
            "metric": "best",
            "mode": "max" if goal == "maximize" else "min",
            "grace_period": first,
            "max_t": epochs,
            "reduction_factor": asha.eta,
        }
        self.by_label: dict[str | None, AsyncHyperBandScheduler] = {}

    def _of(self, label: str | None) -> AsyncHyperBandScheduler:
        if label not in self.by_label:
            self.by_label[label] = AsyncHyperBandScheduler(**self.settings)
        return self.by_label[label]

    def replay(self, label: str | None, key: str, best: Iterable[tuple[int, float]]) -> bool:
        """Enter a trial of an earlier start, its (epoch, best so far) in order; whether the last one stops it."""
        scheduler, trial = self._of(label), _Named(key)
        scheduler.on_trial_add(None, trial)
        action = TrialScheduler.CONTINUE
        for epoch, value in best:
            action = scheduler.on_trial_result(None, trial, {"epoch": epoch, "best": value})
        return bool(action == TrialScheduler.STOP)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._of(trial.config["label"]).on_trial_add(tune_controller, _Named(trial.config["key"]))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if "failure" in result:
            return str(TrialScheduler.STOP)
        return str(
            self._of(trial.config["label"]).on_trial_result(tune_controller, _Named(trial.config["key"]), result)
        )

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        pass  # its last result has been seen by on_trial_result

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        pass

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        pass


def scheduler(sweep: Sweep) -> FairAsha | None:
    """The scheduler that the sweep file asks for; None lets every trial run to its end."""
    asha = sweep.config.early_terminate
    if asha is None:
        return None
    first, epochs = rungs(asha, check_corners(sweep))
    return FairAsha(asha, first, epochs, sweep.config.metric.goal)
