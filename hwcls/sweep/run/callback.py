"""The driver's Tune callback: the only writer of records, one line per trial and epoch whatever was restarted."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable, Container, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray.tune import Callback

from hwcls import files
from hwcls.config.optim import MetricConfig
from hwcls.config.sweep import SweepConfig
from hwcls.sweep.monitor.progress import Progress
from hwcls.sweep.run.tune_private import error_text, forget_failures, request_checkpoint
from hwcls.sweep.search.messages import REPORT, Job, job_of, report_in
from hwcls.sweep.storage.checkpoint_store import drop_older, read_place
from hwcls.sweep.storage.results_folder import full_disk
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.tracking.records import Result, best_of
from hwcls.training.artifacts import copy_outputs

log = logging.getLogger(__name__)

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
DISK_FULL = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT))


class RecordCallback(Callback):  # type: ignore[misc]
    """Writes each trial's records, outputs and result, and has it saved from time to time.

    Args:
        folder: The results folder.
        config: Of the sweep.
        progress: What the user sees.
        keep_alive: Called between events: restarts the tracking process where it has died.
    """

    def __init__(
        self, folder: SweepFolder, config: SweepConfig, progress: Progress, keep_alive: Callable[[], None]
    ) -> None:
        self.folder, self.metric, self.progress = folder, config.metric, progress
        self.keep_alive = keep_alive
        self.running: set[str] = set()  # trials by their Tune id
        self.named: dict[str, Path] = {}  # by Tune's id, the folder in which Tune has the place of its checkpoint
        self.unsaved: set[str] | None = None  # trials to save before the sweep is interrupted; None: it is not
        self.interrupt: Callable[[], None] = lambda: None
        self.write_error: Exception | None = None  # of a checkpoint; Tune drops what is raised there
        self.paused: Container[object] = ()  # keys of trials that wait at a rung
        self.end_paused: Callable[[], Iterable[tuple[str, Result]]] = tuple  # those that cannot go on any more

    def _folder(self, job: Job) -> TrialFolder:
        return TrialFolder(self.folder.path / job.key)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.running.add(trial.trial_id)
        job = job_of(trial)
        folder = self._folder(job)
        epoch = folder.last_epoch()
        best = best_of(folder.records(), self.metric) if epoch else None
        value = None if best is None else best[self.metric.name]
        folder.resume()
        self.progress.started(job.key, job.label, dict(job.parameters), epoch, job.epochs, value)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Record the epoch and what was saved meanwhile; have Tune save a trial that ends or leaves its node."""
        job, report = job_of(trial), report_in(result)
        assert report is not None, "WarmGroup reports after each step"
        folder = self._folder(job)
        if self.metric.costs and report.cost and not folder.cost():
            folder.write_cost(report.cost)
        for line in folder.append_missing(report.records):
            self.progress.epoch(job.key, line)
            forget_failures(trial)  # restarts are counted in a row, without a new epoch
        if report.note:
            log.warning("%s: %s", job.key, report.note)
        result[REPORT] = replace(report, records=())  # Tune keeps each trial's last result in memory
        if report.checkpoint:
            self._keep(job, Path(report.checkpoint))
        if report.epoch > 0 and report.saveable and (result["done"] or report.draining or self.unsaved is not None):
            request_checkpoint(result)

    def on_checkpoint(self, iteration: int, trials: list[Any], trial: Any, checkpoint: Any, **info: Any) -> None:
        named, place = Path(checkpoint.path), read_place(Path(checkpoint.path))
        self._keep(job_of(trial), place)
        self._remove_named(trial.trial_id)
        if place != named:
            self.named[trial.trial_id] = named
        self._mark_saved(trial)

    def _remove_named(self, trial_id: str) -> None:
        """Remove what Tune has of a trial's checkpoint; the latest one must be there while the trial may restart."""
        if (path := self.named.pop(trial_id, None)) is not None:
            files.remove(path)

    def _keep(self, job: Job, checkpoint: Path) -> None:
        folder = self._folder(job)
        try:
            copy_outputs(checkpoint, folder.path, weights=job.keep != "none")
            drop_older(Path(self.folder.saved_in(job.name)), folder.add_checkpoint(str(checkpoint)))
        except OSError as error:
            self.write_error = error

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Between two of Tune's events: keep the tracking process alive; what could not be written ends the sweep."""
        self.keep_alive()
        if self.write_error is not None:
            raise self.write_error

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        job, report = job_of(trial), report_in(trial.last_result)
        if job.key in self.paused:
            self._pause(trial)
        elif report is not None and report.failure is not None:
            self._end(trial, "failed", report.failure)
        elif report is not None and report.epoch >= job.epochs:
            self._end(trial, "complete", None)
        else:
            self._end(trial, "stopped_by_user" if self._folder(job).stop_requested() else "stopped", None)
        self.show_ended(self.end_paused())

    def show_ended(self, ended: Iterable[tuple[str, Result]]) -> None:
        """Show paused trials that have ended, by key."""
        for key, result in ended:
            self.progress.ended(key, result)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        error = _last_line(_error_text(trial))
        self._check_full_disk(error)
        self.running.discard(trial.trial_id)
        self.progress.restarted(job_of(trial).key, error)
        self._mark_saved(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        text = _error_text(trial)
        self._check_full_disk(_last_line(text))
        self._folder(job_of(trial)).write_error(text)
        self._end(trial, "failed", _last_line(text))

    def _end(self, trial: Any, status: str, error: str | None) -> None:
        result = self._result(trial, status, error)
        folder = self._folder(job_of(trial))
        if error and not (folder.path / "error.txt").exists():
            folder.write_error(error + "\n")
        folder.write_result(result)
        folder.delete_checkpoints()
        self.progress.ended(job_of(trial).key, result)
        self._leave(trial)

    def _pause(self, trial: Any) -> None:
        """The trial waits at a rung; where it does not go on it has stopped there."""
        result = self._result(trial, "stopped", None)
        self._folder(job_of(trial)).pause(result)
        self.progress.paused(job_of(trial).key, result)
        self._leave(trial)

    def _result(self, trial: Any, status: str, error: str | None) -> Result:
        if self.write_error is not None:
            raise self.write_error
        job, report = job_of(trial), report_in(trial.last_result)
        result = build_result(self._folder(job), self.metric, status, job.label, dict(job.parameters))
        result = replace(result, micro_batch=report.micro_batch if report else None, error=error)
        if report:
            result.extra["turnaround"] = dict(report.phases)
            found = {"cost": dict(report.cost), "effective": dict(report.effective)}
            result.extra.update({key: value for key, value in found.items() if value})
        result.extra.update(job.extra)
        return result

    def _leave(self, trial: Any) -> None:
        """The trial does not run any more."""
        self.running.discard(trial.trial_id)
        self._remove_named(trial.trial_id)
        self._drop_unregistered(job_of(trial))
        self._mark_saved(trial)

    def _drop_unregistered(self, job: Job) -> None:
        """Remove what a restart left, and what was written just before the end."""
        kept, folder = map(Path, self._folder(job).checkpoints()), Path(self.folder.saved_in(job.name))
        for path in set(folder.glob("*")) - {path.resolve() for path in kept}:
            files.remove(path)
        with suppress(OSError):  # one is kept, or there were none
            folder.rmdir()

    def interrupt_when_saved(self, interrupt: Callable[[], None]) -> None:
        """Have every running trial saved at the end of its epoch, and then call `interrupt`."""
        self.unsaved, self.interrupt = set(self.running), interrupt
        self._interrupt_if_saved()

    def _mark_saved(self, trial: Any) -> None:
        """`trial` was saved, has ended, or waits for a restart."""
        if self.unsaved is not None:
            self.unsaved.discard(trial.trial_id)
            self._interrupt_if_saved()

    def _interrupt_if_saved(self) -> None:
        if not self.unsaved:
            interrupt, self.interrupt = self.interrupt, lambda: None  # once
            interrupt()

    def _check_full_disk(self, error: str) -> None:
        """A full disk is not the trial's fault: it ends the sweep."""
        if any(words in error for words in DISK_FULL):
            raise full_disk(self.folder.path, error)


def build_result(
    folder: TrialFolder, metric: MetricConfig, status: str, label: str | None, parameters: dict[str, Any]
) -> Result:
    """The result of a trial from its records."""
    lines = folder.records()
    seconds = round(sum(line.get("seconds") or 0.0 for line in lines), 3)
    cost = folder.cost()
    return Result(status, best_of(lines, metric), label, parameters, seconds, extra={"cost": cost} if cost else {})


def _error_text(trial: Any) -> str:
    return COLOURS.sub("", error_text(trial)) or "the worker died"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].partition(" Worker exit type:")[0][:300] if lines else "unknown error"
