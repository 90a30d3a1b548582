"""Runs the confirm runs on warm groups and scores the winners, and only those, on test."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ray
from ray.tune.search import Searcher

from hwcls.config.sweep_file import Sweep
from hwcls.config.trial import TrialConfig
from hwcls.data.augment.defaults import spell_out
from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.monitor.progress import Progress
from hwcls.sweep.run import confirm_plan
from hwcls.sweep.run.callback import RecordCallback
from hwcls.sweep.run.tune import tune_run
from hwcls.sweep.search.messages import Job
from hwcls.sweep.storage.user_code import read_sources, write_sources
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.training.artifacts import save_arrays

log = logging.getLogger(__name__)


class JobQueue(Searcher):  # type: ignore[misc]
    """A Tune searcher over given jobs, in order."""

    def __init__(self, jobs: list[Job]) -> None:
        super().__init__()
        self.jobs = jobs
        self.running: set[str] = set()  # by Tune's id

    @property
    def finished(self) -> bool:
        return not self.jobs

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        if not self.jobs:
            return str(Searcher.FINISHED)
        self.running.add(trial_id)
        return self.jobs.pop(0).to_config()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.running.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        pass


def open_jobs(
    opened: SweepFolder, runs: list[confirm_plan.ConfirmRun], resources: Resources, hang_after: float
) -> list[Job]:
    """The jobs of the planned runs that have no result."""
    found = []
    for run in runs:
        folder = opened.confirm_run(run.label, run.seed)
        if folder.result() is not None:
            continue
        original = opened.trial(run.trial)
        if not (folder.path / "config.yaml").exists():
            config = spell_out(original.config(), earlier=True)
            folder.write_config(config.model_copy(update={"seed": run.seed}))
        result = original.result()
        found.append(
            Job(
                key=run.key,
                label=run.label,
                parameters=result.parameters if result else {},
                config=spell_out(folder.config(), earlier=True),
                resources=resources,
                keep="best",
                hang_after=hang_after,
                checkpoints=tuple(folder.checkpoints()),
                extra={"trial": run.trial},
            )
        )
    return found


def run(
    sweep: Sweep,
    opened: SweepFolder,
    group: Any,
    resources: Resources,
    callback: RecordCallback,
    progress_for: Callable[[int], Progress],
) -> bool:
    """Retrain, rank again on val, score the winners on test; whether it was interrupted."""
    runs = confirm_plan.plan_runs(sweep, opened)
    todo = open_jobs(opened, runs, resources, sweep.config.hang_after)
    if todo:
        callback.progress = progress_for(len(todo))
        log.info("confirm: %d runs on fresh seeds", len(todo))
        if tune_run(group, opened, JobQueue(todo), None, callback, resources, sweep.config.max_restarts):
            return True
    waiting = confirm_plan.unscored_runs(sweep, opened, runs)
    if waiting:
        log.info("confirm: the winners on test, %d runs", len(waiting))
        score_on_test(opened, waiting, resources)
    if sweep.config.keep == "none":
        for run in runs:  # with more seeds another trial may win: its runs are scored then
            folder = opened.confirm_run(run.label, run.seed)
            if (result := folder.result()) and "test" in result.extra:
                (folder.path / "best.safetensors").unlink(missing_ok=True)
    return False


def score_on_test(opened: SweepFolder, runs: list[confirm_plan.ConfirmRun], resources: Resources) -> None:
    """Score runs on test; writes test_predictions.npz, the last line of metrics.jsonl and result.json."""
    task = ray.remote(_evaluate).options(num_cpus=resources.cpus_per_worker, num_gpus=resources.gpus_per_worker)
    folders = [opened.confirm_run(run.label, run.seed) for run in runs]
    waiting: dict[Any, TrialFolder] = {}
    while folders or waiting:
        while folders and len(waiting) < resources.concurrent:  # only their weights are in Ray's memory
            folder = folders.pop(0)
            weights = (folder.path / "best.safetensors").read_bytes()
            config = folder.config()
            waiting[task.remote(config, read_sources(config), weights)] = folder
        (ready,), _ = ray.wait(list(waiting), num_returns=1)
        folder = waiting.pop(ready)
        try:
            scored = ray.get(ready)
        except ray.exceptions.RayError as error:
            last = str(error).strip().splitlines()[-1]
            raise UserError(f"could not be scored on test: {last}", where=str(folder.path)) from None
        _write_score(folder, *scored)


def _evaluate(config: TrialConfig, sources: dict[str, bytes], weights: bytes) -> tuple[dict[str, float], Any, Any]:
    from hwcls.inspection.evaluate import evaluate_weights

    write_sources(sources)
    scored = evaluate_weights(config, weights, "test")
    return scored.values, scored.labels, scored.scores


def _write_score(folder: TrialFolder, values: dict[str, float], labels: Any, scores: Any) -> None:
    save_arrays(folder.path / "test_predictions.npz", labels=labels, scores=scores)
    if not any("test/accuracy" in line for line in folder.records()):
        folder.append(values)
    result = folder.result()
    assert result is not None
    folder.write_result(replace(result, extra={**result.extra, "test": values}))
