"""Runs the confirm runs on warm groups and scores the winners, and only those, on test."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import ray
from ray.tune.search import Searcher

from hwcls.config.sweep import PICK_SEEDS
from hwcls.config.sweep_file import Sweep
from hwcls.config.trial import TrialConfig
from hwcls.data.augment.defaults import spell_out
from hwcls.errors import UserError
from hwcls.format import format_count
from hwcls.results.confirm.looks import record_look
from hwcls.results.confirm.plan import ConfirmPlan, PlannedRun, plan_confirm
from hwcls.results.load import PICK, load_results, reload_confirm
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.monitor.eta import Ahead
from hwcls.sweep.monitor.progress import Progress, ProgressFor
from hwcls.sweep.run import confirm_plan
from hwcls.sweep.run.callback import RecordCallback
from hwcls.sweep.run.tune import tune_run
from hwcls.sweep.search.messages import Job
from hwcls.sweep.search.study.unsaved import UnsavedSearcher
from hwcls.sweep.storage.user_code import read_sources, write_sources
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.training.artifacts import save_predictions

log = logging.getLogger(__name__)


class ConfirmQueue(UnsavedSearcher):
    """A Tune searcher over the confirm runs: the picks, and of each alternative the reports once its picks have ended.

    Args:
        sweep: The sweep.
        opened: Its results, whose search has ended.
        resources: Of each run.
    """

    def __init__(self, sweep: Sweep, opened: SweepFolder, resources: Resources) -> None:
        super().__init__()
        self.sweep, self.opened, self.resources = sweep, opened, resources
        self.results = load_results(opened.path)
        self.running: set[str] = set()  # by Tune's id
        self.started: set[str] = set()  # keys of runs
        self.has_ended = False  # a run, since the last look at the records
        self.plan = self.refresh()

    def refresh(self) -> ConfirmPlan:
        """The plan by the records as they are now."""
        self.has_ended = False
        self.results = reload_confirm(self.results)
        self.plan = plan_confirm(self.results, self.sweep.config.confirm)
        return self.plan

    @property
    def open(self) -> list[PlannedRun]:
        """The runs that can be trained and have no result."""
        ended = confirm_plan.ended_runs(self.results)
        return [run for run in self.plan.runs if run.key not in ended | self.started]

    @property
    def finished(self) -> bool:
        return not self.open and not self.plan.waiting

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        runs = self.open
        if not runs and self.plan.waiting and self.has_ended:
            self.refresh()
            runs = self.open
        if runs:
            self.running.add(trial_id)
            self.started.add(runs[0].key)
            return open_job(self.sweep, self.opened, runs[0], self.resources).to_config()
        return None if self.running else str(Searcher.FINISHED)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.running.discard(trial_id)
        self.has_ended = True


def open_job(sweep: Sweep, opened: SweepFolder, run: PlannedRun, resources: Resources) -> Job:
    """The job of a run, whose folder is made where there is none."""
    folder, original = opened.confirm_run(run.label, run.seed), opened.trial(run.trial)
    purpose: dict[str, Any] = {"trial": run.trial} | ({"role": run.role} if run.role else {})
    purpose |= {"cut": run.cut.to_record()} if run.cut else {}
    if not (folder.path / "config.yaml").exists():
        folder.write_purpose(purpose)
        config = spell_out(original.config(), earlier=True)
        data = run.cut.apply(config.data) if run.cut else config.data
        folder.write_config(config.model_copy(update={"seed": run.seed, "data": data}))
    result = original.result()
    return Job(
        key=run.key,
        label=run.label,
        parameters=result.parameters if result else {},
        config=spell_out(folder.config(), earlier=True),
        resources=resources,
        keep=sweep.config.keep if run.role == PICK else "best",  # what is scored on test needs its weights
        hang_after=sweep.config.hang_after,
        checkpoints=tuple(folder.checkpoints()),
        saved_in=opened.saved_in(run.key.replace("/", "-")),
        extra=purpose,
    )


def run(
    sweep: Sweep,
    opened: SweepFolder,
    group: Any,
    resources: Resources,
    callback: RecordCallback,
    progress_for: ProgressFor,
) -> bool:
    """Retrain to pick the winners on val, retrain these to be scored on test; whether it was interrupted."""
    if sweep.config.confirm is None:
        return False
    queue = ConfirmQueue(sweep, opened, resources)
    if not queue.finished:
        callback.progress = show_progress(queue, progress_for)
        log.info("confirm: %s", describe_plan(queue))
        if tune_run(group, opened, queue, None, callback, resources, sweep.config.max_restarts):
            return True
    plan = queue.refresh()
    waiting = confirm_plan.unscored_runs(queue.results, plan)
    record_look(queue.results, waiting)
    if waiting:
        runs = format_count(len(waiting), "run")
        log.info("confirm: the %s on test, %s", "front" if plan.points else "winners", runs)
        score_on_test([TrialFolder(run.run.folder) for run in waiting], resources)
    if sweep.config.keep == "none":
        for found in reload_confirm(queue.results).confirm:  # after a longer search another one may win
            if found.test is not None:
                (found.run.folder / "best.safetensors").unlink(missing_ok=True)
    return False


def show_progress(queue: ConfirmQueue, progress_for: ProgressFor) -> Progress:
    """The view of the confirm runs, with those that ended in an earlier start."""
    planned = {run.key for run in queue.plan.runs}
    ended = {run.key: TrialFolder(run.run.folder).result() for run in queue.results.confirm}
    known = {key: result for key, result in ended.items() if key in planned and result}
    progress = progress_for(queue.plan.total, len(known), None, Ahead.of_confirm())
    for key, result in known.items():
        progress.reached_before(key, result)
    return progress


def describe_plan(queue: ConfirmQueue) -> str:
    """How many runs do what."""
    total, picks = queue.plan.total, sum(run.role == PICK for run in queue.plan.runs)
    runs = format_count(total, "run")
    done = total - len(queue.open) - sum(queue.plan.waiting.values())
    before = f", {done} of them done before" if done else ""
    cuts = " on other cuts of train and val" if any(run.cut for run in queue.plan.runs) else ""
    if queue.plan.points:
        points = format_count(len(queue.plan.points), "point")
        return f"{runs}{before} on fresh seeds{cuts and ' and'}{cuts}: they report {points} of the front"
    if not picks:
        return f"{runs} on fresh seeds{cuts and ' and'}{cuts}{before}"
    verb = "reports" if total - picks == 1 else "report"
    what = f"{picks} pick the winners on {PICK_SEEDS} seeds each, {total - picks} {verb} them on other seeds"
    return f"{runs}{cuts}{before}: {what}"


def score_on_test(folders: list[TrialFolder], resources: Resources) -> None:
    """Score confirm runs on test; writes test_predictions.npz, the last line of metrics.jsonl and result.json."""
    task = ray.remote(_evaluate).options(num_cpus=resources.cpus_per_worker, num_gpus=resources.gpus_per_worker)
    folders, waiting = list(folders), dict[Any, TrialFolder]()
    while folders or waiting:
        while folders and len(waiting) < resources.concurrent:  # only their weights are in Ray's memory
            folder = folders.pop(0)
            weights = (folder.path / "best.safetensors").read_bytes()
            config = folder.config()
            waiting[task.remote(config, read_sources(config), weights, resources.gpus_per_worker > 0)] = folder
        (ready,), _ = ray.wait(list(waiting), num_returns=1)
        folder = waiting.pop(ready)
        try:
            scored = ray.get(ready)
        except ray.exceptions.RayError as error:
            last = str(error).strip().splitlines()[-1]
            raise UserError(f"could not be scored on test: {last}", where=str(folder.path)) from None
        _write_score(folder, *scored)


def _evaluate(
    config: TrialConfig, sources: dict[str, bytes], weights: bytes, gpu: bool
) -> tuple[dict[str, float], Any, Any]:
    """Score weights on test, on the GPU of this worker or, where trials have none, on the CPU."""
    from hwcls.inspection.evaluate import evaluate_weights
    from hwcls.training.distributed import default_device
    from hwcls.training.gpu import require_gpu

    if gpu:
        require_gpu()
    write_sources(sources, config)
    scored = evaluate_weights(config, weights, "test", default_device(gpu=gpu))
    return scored.values, scored.labels, scored.scores


def _write_score(folder: TrialFolder, values: dict[str, float], labels: Any, scores: Any) -> None:
    save_predictions(folder.path / "test_predictions.npz", labels=labels, scores=scores)
    if not any("test/accuracy" in line for line in folder.records()):
        folder.append(values)
    result = folder.result()
    assert result is not None
    folder.write_result(replace(result, extra={**result.extra, "test": values}))
