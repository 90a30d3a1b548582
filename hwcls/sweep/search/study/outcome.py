"""What the study gets to know of a trial that trains or ends."""

from __future__ import annotations

import math
import warnings

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from hwcls.sweep.search.messages import EpochReport
from hwcls.sweep.search.optuna_private import resume_trial
from hwcls.tracking.records import Result

STATES = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "stopped_by_user": TrialState.PRUNED}


def report_epoch(trial: Trial, report: EpochReport) -> None:
    """Report an epoch to Optuna."""
    if report.value is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an epoch that a restart repeats is reported again
            trial.report(report.value, report.epoch)


def end_trial(study: optuna.Study, trial: Trial, report: EpochReport | None, *, error: bool) -> None:
    """End a trial as COMPLETE, PRUNED (stopped early) or FAIL (an error, or a loss that is not finite)."""
    if error or report is None or report.failure is not None:
        study.tell(trial, state=TrialState.FAIL)
        return
    report_epoch(trial, report)
    if report.epoch < report.epochs:
        study.tell(trial, state=TrialState.PRUNED)  # its value is the last one reported
    elif math.isfinite(report.best):
        study.tell(trial, report.best)
    else:
        study.tell(trial, state=TrialState.FAIL)


def close_trial(study: optuna.Study, frozen: FrozenTrial, result: Result, metric: str) -> None:
    """End a trial that has ended in the records."""
    state = STATES.get(result.status, TrialState.FAIL) if result.best else TrialState.FAIL
    value = result.best[metric] if result.best and state == TrialState.COMPLETE else None
    study.tell(resume_trial(study, frozen), value, state=state)
