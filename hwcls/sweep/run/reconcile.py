"""Reconciles the study, the records and the early-stopping races after a crash."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hwcls.config.optim import MetricConfig
from hwcls.config.space import recorded_label
from hwcls.config.sweep_file import Sweep
from hwcls.errors import UserError
from hwcls.sweep.search.messages import EpochReport
from hwcls.sweep.search.study.outcome import NO_PLACE
from hwcls.sweep.storage.journal_format import LEFT_OUT
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.tracking.records import Result, best_of
from hwcls.training.artifacts import read_weights_epoch

if TYPE_CHECKING:
    from hwcls.sweep.search.pruning import FairScheduler
    from hwcls.sweep.search.searcher import FairSearch


STATUSES = {"COMPLETE": "complete", "PRUNED": "stopped", "FAIL": "failed"}  # by Optuna's states


def reconcile(sweep: Sweep, opened: SweepFolder, search: FairSearch, scheduler: FairScheduler | None) -> None:
    """Make study, records and races agree: a trial that has ended in one of them has ended in all.

    A crash may come between any two of them. What ended or paused without leaving its weights resumes from its
    checkpoint.

    Raises:
        UserError: There are records of a trial that is not in the study.
    """
    known, trials = search.known_trials(), opened.trials()
    missing = [number for number in trials if number >= len(known) or known[number].state.name == "WAITING"]
    if missing:
        what = f"trial {missing[0]} is missing from study.journal"
        remedy = "put the file back, or use a new folder: hwcls sweep --new"
        raise UserError(what, where=str(opened.path), remedy=remedy)
    for number in [number for number in trials if LEFT_OUT in known[number].user_attrs]:
        _end_left_out(sweep, trials.pop(number))
    labels = {number: sweep.alternative_label(known[number].params) for number in trials}
    results = {number: trial.result() for number, trial in trials.items()}
    stopped = {n: _replay(sweep, scheduler, labels[n], n, trial) for n, trial in trials.items()}
    for number, result in results.items():
        ended = result.status if result else _status(trials[number], STATUSES.get(known[number].state.name, ""))
        if scheduler and ended in NO_PLACE:
            scheduler.fail(labels[number], f"trials/{number}")
    for number, trial in trials.items():  # where trials pause, it takes all races to know which ones are out
        result = results[number]
        if result is None:
            status = STATUSES.get(known[number].state.name)
            if status is None and _has_weights(trial, sweep.config.metric, sweep.config.keep):
                waiting = trial.paused()  # the configs of thousands that wait are not read
                complete = waiting is None and trial.last_epoch() >= trial.config().epochs
                status = "complete" if complete else "stopped" if stopped[number] else None
                if status == "stopped" and scheduler and scheduler.pause(labels[number], f"trials/{number}"):
                    if waiting is None:
                        trial.pause(_result(sweep, trial, status, known[number].params))
                    search.pause(number)
                    continue
            if status is None:
                continue
            result = _end(sweep, trial, status, known[number].params)
        search.close(known[number], result)


def end_paused(
    sweep: Sweep, opened: SweepFolder, search: FairSearch, *, last: bool = False
) -> list[tuple[str, Result]]:
    """End the paused trials that cannot go on any more, and those that a user stops; `last`: all of them.

    Whether a user stops one is looked up for some of them each time, in turn.

    Returns:
        The key and the result of each.
    """
    stopped = [key for key in search.paused.some() if TrialFolder(opened.path / key).stop_requested()]
    chosen = list(search.paused) if last else list(dict.fromkeys([*search.paused.out(), *stopped]))
    ended, known = [], search.known_trials() if chosen else []
    for key in chosen:
        number = int(key.rpartition("/")[2])
        result = _end(sweep, opened.trial(number), "stopped", known[number].params)
        search.close(known[number], result)
        ended.append((key, result))
    return ended


def read_unfinished(sweep: Sweep, trials: Mapping[int, TrialFolder], search: FairSearch) -> dict[str, Result]:
    """What these trials without a result have reached so far, by key; those without an epoch are left out."""
    begun = {number: trial for number, trial in trials.items() if trial.last_epoch()}
    known = search.known_trials() if begun else []
    return {
        f"trials/{number}": trial.paused() or _result(sweep, trial, "stopped", known[number].params)
        for number, trial in begun.items()
    }


def _status(trial: TrialFolder, status: str) -> str:
    """Of a trial that has ended: one that is stopped may be so by a user."""
    return "stopped_by_user" if status == "stopped" and trial.stop_requested() else status


def _end(sweep: Sweep, trial: TrialFolder, status: str, settings: dict[str, Any]) -> Result:
    """Write the result of a trial that has ended; what is known since it paused stays."""
    status = _status(trial, status)
    error = "it failed; the process ended before the error was written" if status == "failed" else None
    result = replace(trial.paused() or _result(sweep, trial, status, settings), status=status, error=error)
    if error:
        trial.write_error(error + "\n")
    trial.write_result(result)
    trial.delete_checkpoints()
    return result


def _result(sweep: Sweep, trial: TrialFolder, status: str, settings: dict[str, Any]) -> Result:
    from hwcls.sweep.run.callback import build_result

    label, flat = sweep.alternative_label(settings), sweep.space.flat_settings(settings)
    return build_result(trial, sweep.config.metric, status, label, flat)


def _end_left_out(sweep: Sweep, trial: TrialFolder) -> None:
    """End a trial that had not when the sweep file stopped searching its settings; it takes no part in a race."""
    from hwcls.sweep.run.callback import build_result

    if trial.result() is None:
        settings = trial.settings()
        compare = sweep.config.compare
        label = None if compare is None else recorded_label(settings, compare, sweep.space)
        drawn = sweep.space.recorded_settings(settings)
        found = trial.paused() or build_result(trial, sweep.config.metric, "stopped", label, drawn)
        trial.write_result(replace(found, status="stopped_by_user"))
        trial.delete_checkpoints()


def _replay(sweep: Sweep, scheduler: FairScheduler | None, label: str | None, number: int, trial: TrialFolder) -> bool:
    """Enter a trial's records into its race; whether it is stopped at its last epoch."""
    if scheduler is None:
        return False
    metric, epochs, reports = sweep.config.metric, _epochs(sweep, trial), list[EpochReport]()
    best: dict[str, Any] | None = None
    for line in trial.records():
        best = best_of([best, line] if best else [line], metric)
        if "epoch" in line:
            value = best[metric.name] if best else metric.worst
            reports.append(EpochReport(line["epoch"], epochs, line[metric.name], value))
    return scheduler.replay(label, f"trials/{number}", reports)


def _epochs(sweep: Sweep, trial: TrialFolder) -> int:
    """How many epochs a trial has; its config is read only where trials differ in them."""
    lengths = {corner.epochs for corner in sweep.corners}
    with contextlib.suppress(UserError):  # a damaged config: the most that there are
        return trial.config().epochs if len(lengths) > 1 else max(lengths)
    return max(lengths)


def _has_weights(trial: TrialFolder, metric: MetricConfig, keep: str) -> bool:
    """Whether the weights of the best epoch on record have arrived."""
    best = best_of(trial.records(), metric)
    return best is not None and (keep == "none" or read_weights_epoch(trial.path / "best.safetensors") == best["epoch"])
