"""What the study gets to know of a trial that trains or ends."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from hwcls.config.optim import MetricConfig
from hwcls.sweep.search.messages import EpochReport
from hwcls.sweep.search.optuna_private import report_epoch_value, resume_trial
from hwcls.sweep.storage.journal_format import COSTS
from hwcls.tracking.records import Result

STATES = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "stopped_by_user": TrialState.PRUNED}
NO_PLACE = ("failed", "stopped_by_user")  # trials that give their places at the rungs to others


def report_epoch(trial: Trial, report: EpochReport, metric: MetricConfig) -> None:
    """Report an epoch to Optuna, with what the model costs where that is searched for."""
    if report.value is None:
        return
    if metric.costs:
        costs = cost_values(metric, report.cost)
        if trial.user_attrs.get(COSTS) != costs:
            trial.set_user_attr(COSTS, costs)
        report_epoch_value(trial, report.value, report.epoch)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an epoch that a restart repeats is reported again
        trial.report(report.value, report.epoch)


def end_trial(
    study: optuna.Study, trial: Trial, report: EpochReport | None, metric: MetricConfig, *, error: bool
) -> None:
    """End a trial as COMPLETE, PRUNED (stopped early) or FAIL (an error, or a loss that is not finite)."""
    if error or report is None or report.failure is not None:
        study.tell(trial, state=TrialState.FAIL)
        return
    report_epoch(trial, report, metric)
    if report.epoch < report.epochs:
        study.tell(trial, state=TrialState.PRUNED)  # its value is the last one reported
    elif math.isfinite(report.best):
        study.tell(trial, [report.best, *cost_values(metric, report.cost)])
    else:
        study.tell(trial, state=TrialState.FAIL)


def close_trial(study: optuna.Study, frozen: FrozenTrial, result: Result, metric: MetricConfig) -> None:
    """End a trial that has ended in the records."""
    state = STATES.get(result.status, TrialState.FAIL) if result.best else TrialState.FAIL
    values = None
    if result.best and state == TrialState.COMPLETE:
        values = [result.best[metric.name], *cost_values(metric, result.extra.get("cost") or {})]
    study.tell(resume_trial(study, frozen), values, state=state)


def cost_values(metric: MetricConfig, cost: Mapping[str, Any]) -> list[float]:
    """The values of the further metrics; infinite ones, as bad as can be, where they could not be measured."""
    found = [(one, one.value(cost)) for one in metric.costs]
    return [value if value is not None else -math.inf if one.goal == "maximize" else math.inf for one, value in found]
