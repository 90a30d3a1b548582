"""The runs of confirm on warm groups, and their scores on test, which is read for the winners alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import ray
from ray.tune.search import Searcher

from hwcls.config.sweep_file import Sweep
from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.monitor.progress import Progress
from hwcls.sweep.run import confirm_plan
from hwcls.sweep.run.callback import Recorder
from hwcls.sweep.run.tune import tune_run
from hwcls.sweep.storage.user_code import read_sources, write_sources
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.tracking.records import Result
from hwcls.training.artifacts import save_arrays

log = logging.getLogger(__name__)


class Queue(Searcher):  # type: ignore[misc]
    """Hands out given jobs, one after the other."""

    def __init__(self, jobs: list[dict[str, Any]]) -> None:
        super().__init__()
        self.jobs = jobs
        self.asked: set[str] = set()

    @property
    def finished(self) -> bool:
        return not self.jobs

    @property
    def running(self) -> bool:
        return bool(self.asked)

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        if not self.jobs:
            return str(Searcher.FINISHED)
        self.asked.add(trial_id)
        return self.jobs.pop(0)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.asked.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        pass


def jobs(
    opened: SweepFolder, runs: list[confirm_plan.Run], resources: Resources, hang_after: float
) -> list[dict[str, Any]]:
    """What the warm groups are to run: every planned run without a result."""
    found = []
    for run in runs:
        folder = opened.confirm_run(run.label, run.seed)
        if folder.result() is not None:
            continue
        original = opened.trial(run.trial)
        if not (folder.path / "config.yaml").exists():
            folder.write_config(original.config().model_copy(update={"seed": run.seed}))
        result = original.result()
        found.append(
            {
                "key": run.key,
                "label": run.label,
                "parameters": result.parameters if result else {},
                "config": folder.config().to_dict(),
                "resources": resources.to_dict(),
                "keep": "best",
                "hang_after": hang_after,
                "checkpoints": folder.checkpoints(),
                "extra": {"trial": run.trial},
            }
        )
    return found


def run(
    sweep: Sweep,
    opened: SweepFolder,
    group: Any,
    resources: Resources,
    recorder: Recorder,
    progress_for: Callable[[int], Progress],
) -> bool:
    """Retrain, rank again on val, score the winners on test; True when it was interrupted."""
    runs = confirm_plan.plan(sweep, opened)
    todo = jobs(opened, runs, resources, sweep.config.hang_after)
    if todo:
        recorder.progress = progress_for(len(todo))
        log.info("confirm: %d runs on fresh seeds", len(todo))
        if tune_run(group, opened, Queue(todo), None, recorder, resources, sweep.config.max_restarts):
            return True
    waiting = confirm_plan.unscored(sweep, opened, runs)
    if waiting:
        log.info("confirm: the winners on test, %d runs", len(waiting))
        score(opened, waiting, resources)
    if sweep.config.keep == "none":
        for run in runs:  # with more seeds another trial may win, whose runs are then to be scored
            folder = opened.confirm_run(run.label, run.seed)
            if (result := folder.result()) and "test" in result.extra:
                (folder.path / "best.safetensors").unlink(missing_ok=True)
    return False


def score(opened: SweepFolder, runs: list[confirm_plan.Run], resources: Resources) -> None:
    """Score runs on the test split and write test_predictions.npz, the last line of metrics.jsonl and result.json."""
    task = ray.remote(_on_test).options(num_cpus=resources.cpus_per_worker, num_gpus=resources.gpus_per_worker)
    folders = [opened.confirm_run(run.label, run.seed) for run in runs]
    waiting: dict[Any, TrialFolder] = {}
    while folders or waiting:
        while folders and len(waiting) < resources.concurrent:  # the weights of these alone lie in Ray's memory
            folder = folders.pop(0)
            weights = (folder.path / "best.safetensors").read_bytes()
            values = folder.config().to_dict()
            waiting[task.remote(values, read_sources(values), weights)] = folder
        (ready,), _ = ray.wait(list(waiting), num_returns=1)
        folder = waiting.pop(ready)
        try:
            scored = ray.get(ready)
        except ray.exceptions.RayError as error:
            last = str(error).strip().splitlines()[-1]
            raise UserError(f"could not be scored on test: {last}", where=str(folder.path)) from None
        _write_score(folder, *scored)


def _on_test(values: dict[str, Any], sources: dict[str, bytes], weights: bytes) -> tuple[dict[str, float], Any, Any]:
    from hwcls.config.trial import TrialConfig
    from hwcls.inspection.evaluate import evaluate_weights

    write_sources(sources)
    scored = evaluate_weights(TrialConfig.from_dict(values), weights, "test")
    return scored.values, scored.labels, scored.scores


def _write_score(folder: TrialFolder, values: dict[str, float], labels: Any, scores: Any) -> None:
    save_arrays(folder.path / "test_predictions.npz", labels=labels, scores=scores)
    if not any("test/accuracy" in line for line in folder.records()):
        folder.append(values)
    result = folder.result()
    assert result is not None
    folder.write_result(Result(**{**vars(result), "extra": {**result.extra, "test": values}}))
