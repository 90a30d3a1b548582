"""The driver's Tune callback: the only writer of records, one line per trial and epoch whatever was restarted."""

from __future__ import annotations

import errno
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune import Callback

from hwcls.config.optim import MetricConfig
from hwcls.config.sweep import SweepConfig
from hwcls.sweep.monitor.progress import Progress
from hwcls.sweep.storage.results_folder import full_disk
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.tracking.records import Result, best_of
from hwcls.training.artifacts import copy_outputs

log = logging.getLogger(__name__)

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
SAVE_EVERY = 10.0  # seconds between a trial's checkpoints; each epoch where one takes longer
FULL = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT))


class Recorder(Callback):  # type: ignore[misc]
    """Appends what the trials report, keeps what their workers bring, and says how each one ended."""

    def __init__(
        self, folder: SweepFolder, config: SweepConfig, progress: Progress, keep_alive: Callable[[], None]
    ) -> None:
        self.folder, self.metric, self.keep, self.progress = folder, config.metric, config.keep, progress
        self.keep_alive = keep_alive  # of the process that follows the records
        self.saved: dict[str, float] = {}  # when each trial's last checkpoint was asked for
        self.running: set[str] = set()  # trials by their Tune id
        self.unsaved: set[str] | None = None  # trials to be saved before the sweep is left; None: it goes on
        self.leave_now: Callable[[], None] = lambda: None
        self.trouble: Exception | None = None  # of a checkpoint; Tune drops what is raised there

    def _folder(self, trial: Any) -> TrialFolder:
        return TrialFolder(self.folder.path / trial.config["key"])

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.running.add(trial.trial_id)
        self.saved.setdefault(trial.trial_id, time.monotonic())
        config, epoch = trial.config, self._folder(trial).last_epoch()
        epochs = config["config"]["epochs"]
        self.progress.started(config["key"], config["label"], config["parameters"], epoch, epochs)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Record the epoch; ask for a checkpoint when the trial ends or leaves here, or the last one is old."""
        for line in self._folder(trial).append_missing(result.pop("records")):
            self.progress.epoch(trial.config["key"], line)
            trial.run_metadata.num_failures = 0  # restarts are counted in a row, without a new epoch
        if note := result.pop("note", None):
            log.warning("%s: %s", trial.config["key"], note)
        now = time.monotonic()
        at_once = result["done"] or result.get("leaving") or self.unsaved is not None
        if at_once or now - self.saved[trial.trial_id] > SAVE_EVERY:
            result["should_checkpoint"] = result["epoch"] > 0
            self.saved[trial.trial_id] = now

    def on_checkpoint(self, iteration: int, trials: list[Any], trial: Any, checkpoint: Any, **info: Any) -> None:
        folder = self._folder(trial)
        needed = trial.config["key"].startswith("confirm/")  # to be scored on test
        try:
            copy_outputs(Path(checkpoint.path), folder.path, weights=needed or self.keep != "none")
            folder.add_checkpoint(str(checkpoint.path))
        except OSError as error:
            self.trouble = error
        self._left(trial)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Between two of Tune's events: the followers are alive, and what could not be written ends the sweep."""
        self.keep_alive()
        if self.trouble is not None:
            raise self.trouble

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        last = trial.last_result
        status = "complete"
        if last.get("epoch", 0) < trial.config["config"]["epochs"]:
            status = "stopped_by_user" if self._folder(trial).stop_requested() else "stopped"
        self._end(trial, "failed" if "failure" in last else status, last.get("failure"))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        error = _last_line(_error_text(trial))
        self._refuse_full(error)
        self.running.discard(trial.trial_id)
        self.progress.restarted(trial.config["key"], error)
        self._left(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        text = _error_text(trial)
        self._refuse_full(_last_line(text))
        self._folder(trial).write_error(text)
        self._end(trial, "failed", _last_line(text))

    def _end(self, trial: Any, status: str, error: str | None) -> None:
        if self.trouble is not None:
            raise self.trouble
        folder = self._folder(trial)
        last = trial.last_result or {}
        extra = {"turnaround": last["phases"]} if "phases" in last else {}
        extra |= {"cost": last["cost"]} if last.get("cost") else {}
        result = closing(folder, self.metric, status, trial.config["label"], trial.config["parameters"])
        result = Result(**{**vars(result), "micro_batch": last.get("micro_batch"), "error": error})
        result.extra.update(extra, **trial.config.get("extra", {}))
        if error and not (folder.path / "error.txt").exists():
            folder.write_error(error + "\n")
        folder.write_result(result)
        folder.delete_checkpoints()
        self.progress.ended(trial.config["key"], result)
        self.running.discard(trial.trial_id)
        self._left(trial)

    def leave(self, now: Callable[[], None]) -> None:
        """Have every running trial saved at the end of its epoch, and then call `now`."""
        self.unsaved, self.leave_now = set(self.running), now
        self._left(None)

    def _left(self, trial: Any) -> None:
        """`trial` has been saved, has ended or waits for a restart."""
        if self.unsaved is not None:
            self.unsaved -= {trial.trial_id} if trial else set()
            if not self.unsaved:
                now, self.leave_now = self.leave_now, lambda: None  # once
                now()

    def _refuse_full(self, error: str) -> None:
        """A full disk is no fault of the trial: it ends the sweep."""
        if any(words in error for words in FULL):
            raise full_disk(self.folder.path, error)


def closing(
    folder: TrialFolder, metric: MetricConfig, status: str, label: str | None, parameters: dict[str, Any]
) -> Result:
    """The result that a trial's records amount to."""
    lines = folder.records()
    seconds = round(sum(line.get("seconds") or 0.0 for line in lines), 3)
    return Result(status, best_of(lines, metric), label, parameters, seconds)


def _error_text(trial: Any) -> str:
    path = trial.error_file
    try:
        return COLOURS.sub("", Path(path).read_text("utf-8")) if path else "the worker died"
    except OSError:
        return "the worker died"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].partition(" Worker exit type:")[0][:300] if lines else "unknown error"
