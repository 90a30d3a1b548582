"""Reconciles the study, the records and the early-stopping races after a crash."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hwcls.config.optim import MetricConfig
from hwcls.config.sweep_file import Sweep
from hwcls.errors import UserError
from hwcls.sweep.search.messages import EpochReport
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.tracking.records import best_of
from hwcls.training.artifacts import read_weights_epoch

if TYPE_CHECKING:
    from hwcls.sweep.search.pruning import FairScheduler
    from hwcls.sweep.search.searcher import FairSearch


STATUSES = {"COMPLETE": "complete", "PRUNED": "stopped", "FAIL": "failed"}  # by Optuna's states


def reconcile(sweep: Sweep, opened: SweepFolder, search: FairSearch, scheduler: FairScheduler | None) -> None:
    """Make study, records and races agree: a trial that has ended in one of them has ended in all.

    A crash may come between any two of them. What ended without leaving its weights resumes from its checkpoint.

    Raises:
        UserError: There are records of a trial that is not in the study.
    """
    from hwcls.sweep.run.callback import build_result

    metric, known = sweep.config.metric, search.known_trials()
    for number, trial in opened.trials().items():
        state = known[number].state if number < len(known) else None
        if state is None or state.name == "WAITING":
            what = f"trial {number} is missing from study.journal"
            raise UserError(
                what, where=str(opened.path), remedy="put the file back, or use a new folder: hwcls sweep --new"
            )
        settings = known[number].params
        label = sweep.alternative_label(settings)
        stopped = _replay(scheduler, label, number, trial, metric)
        result = trial.result()
        if result is None:
            status = STATUSES.get(state.name)
            if status is None and _has_weights(trial, metric, sweep.config.keep):
                status = "complete" if trial.last_epoch() >= trial.config().epochs else "stopped" if stopped else None
            if status is None:
                continue
            if status == "stopped" and trial.stop_requested():
                status = "stopped_by_user"
            error = "it failed; the process ended before the error was written" if status == "failed" else None
            closed = build_result(trial, metric, status, label, sweep.space.flat_settings(settings))
            result = replace(closed, error=error)
            if error:
                trial.write_error(error + "\n")
            trial.write_result(result)
            trial.delete_checkpoints()
        search.close(number, result)


def _replay(
    scheduler: FairScheduler | None, label: str | None, number: int, trial: TrialFolder, metric: MetricConfig
) -> bool:
    """Enter a trial's records into its race; whether it is stopped at its last epoch."""
    if scheduler is None:
        return False
    reports: list[EpochReport] = []
    best: dict[str, Any] | None = None
    for line in trial.records():
        best = best_of([best, line] if best else [line], metric)
        if best and "epoch" in line:
            reports.append(EpochReport(line["epoch"], scheduler.epochs, line[metric.name], best[metric.name]))
    return scheduler.replay(label, f"trials/{number}", reports)


def _has_weights(trial: TrialFolder, metric: MetricConfig, keep: str) -> bool:
    """Whether the weights of the best epoch on record have arrived."""
    best = best_of(trial.records(), metric)
    return best is not None and (keep == "none" or read_weights_epoch(trial.path / "best.safetensors") == best["epoch"])
