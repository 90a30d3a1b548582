"""Study, records and rungs held against each other, as a crash may have left them apart."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hwcls.config.optim import MetricConfig
from hwcls.config.sweep_file import Sweep
from hwcls.errors import UserError
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.tracking.records import best_of
from hwcls.training.artifacts import read_weights_epoch

if TYPE_CHECKING:
    from hwcls.sweep.search.pruning import FairStop
    from hwcls.sweep.search.searcher import FairSearch


def settle(sweep: Sweep, opened: SweepFolder, search: FairSearch, scheduler: FairStop | None) -> None:
    """Hold study, records and rungs against each other: a trial that stands as ended in one has ended in all.

    A crash may come between any two of them. What ended but did not leave its weights is run on from its checkpoint.

    Raises:
        UserError: Trials stand in the records that the study does not know.
    """
    from optuna.trial import TrialState

    from hwcls.sweep.run.callback import closing

    metric, known = sweep.config.metric, search.known()
    for number, trial in opened.trials().items():
        state = known[number].state if number < len(known) else None
        if state in (None, TrialState.WAITING):
            what = f"study.journal does not know trial {number}"
            raise UserError(what, where=str(opened.path), remedy="put the file back, or pass --new to use a new folder")
        settings = known[number].params
        label = sweep.alternative_label(settings)
        stopped = _replay(scheduler, label, number, trial, metric)
        result = trial.result()
        if result is None:
            ended = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "stopped", TrialState.FAIL: "failed"}.get(
                state
            )
            if ended is None and _has_weights(trial, metric, sweep.config.keep):
                ended = "complete" if trial.last_epoch() >= trial.config().epochs else "stopped" if stopped else None
            if ended is None:
                continue
            if ended == "stopped" and trial.stop_requested():
                ended = "stopped_by_user"
            error = "it failed; the process ended before the error was written" if ended == "failed" else None
            closed = closing(trial, metric, ended, label, sweep.space.drawn(settings))
            result = replace(closed, error=error)
            if error:
                trial.write_error(error + "\n")
            trial.write_result(result)
            trial.delete_checkpoints()
        search.settle(number, result)


def _replay(
    scheduler: FairStop | None, label: str | None, number: int, trial: TrialFolder, metric: MetricConfig
) -> bool:
    """Enter a trial's records into the rungs; whether they stop it at its last epoch."""
    if scheduler is None:
        return False
    told: list[dict[str, Any]] = []
    best: dict[str, Any] | None = None
    for line in trial.records():
        best = best_of([best, line] if best else [line], metric)
        if best and "epoch" in line:
            told.append({"epoch": line["epoch"], "value": line[metric.name], "best": best[metric.name]})
    return scheduler.replay(label, f"trials/{number}", told)


def _has_weights(trial: TrialFolder, metric: MetricConfig, keep: str) -> bool:
    """Whether what the worker brings has arrived, as late as the best epoch on record."""
    best = best_of(trial.records(), metric)
    return best is not None and (keep == "none" or read_weights_epoch(trial.path / "best.safetensors") == best["epoch"])
