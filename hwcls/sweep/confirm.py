"""Confirm: the best trials of each alternative again on fresh seeds; test is read for the winners alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import ray
from ray.tune.search import Searcher

from hwcls.config.load import Sweep, load_sweep
from hwcls.config.sweep import ConfirmConfig
from hwcls.errors import UserError
from hwcls.sweep.progress import Progress
from hwcls.sweep.recorder import Recorder
from hwcls.sweep.resources import Resources
from hwcls.sweep.tuning import tune_run
from hwcls.tracking.records import Result, SweepFolder, TrialFolder
from hwcls.training.outputs import save_arrays

FRESH = 10_000_000  # seeds from here on are never those of the search


@dataclass(frozen=True)
class Run:
    """One retraining of a trial."""

    label: str
    trial: int
    seed: int

    @property
    def key(self) -> str:
        return f"confirm/{self.label}/{self.seed}"


def plan(sweep: Sweep, opened: SweepFolder) -> list[Run]:
    """Every run that `confirm:` asks for: the top trials of each alternative, each on its own fresh seeds."""
    config, metric = sweep.config.confirm, sweep.config.metric
    if config is None:
        return []
    by_label: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for number, trial in opened.trials().items():
        result = trial.result()
        if result and result.best and result.status in ("complete", "stopped"):
            sign = 1 if metric.goal == "minimize" else -1
            by_label[result.label or "best"].append((sign * result.best[metric.name], number))
    runs = []
    for label, ranked in by_label.items():
        for _, number in sorted(ranked)[: config.top]:
            runs += [Run(label, number, FRESH + 1000 * number + s) for s in range(config.seeds)]
    return runs


def winners(opened: SweepFolder, runs: list[Run], metric: str, goal: str) -> dict[str, int]:
    """The trial of each alternative with the best mean over its fresh seeds, on val."""
    values: dict[tuple[str, int], list[float]] = defaultdict(list)
    for run in runs:
        result = opened.confirm_run(run.label, run.seed).result()
        if result and result.status == "complete" and result.best:
            values[run.label, run.trial].append(result.best[metric])
    sign = 1 if goal == "maximize" else -1
    best: dict[str, int] = {}
    for (label, trial), found in sorted(values.items()):
        if label not in best or sign * fmean(found) > sign * fmean(values[label, best[label]]):
            best[label] = trial
    return best


def again(folder: Path, more: int) -> Sweep:
    """The sweep of a results folder, to be confirmed on `more` seeds than before.

    Where runs that were asked for are still missing, nothing is added: they come first.

    Raises:
        UserError: There is no sweep there, or its search has not ended.
    """
    if not (folder / "sweep.yaml").is_file():
        raise UserError("no sweep here", where=str(folder), remedy="name a sweep's results folder: results/<name>")
    sweep, opened = load_sweep(folder / "sweep.yaml"), SweepFolder(folder)
    results = [trial.result() for trial in opened.trials().values()]
    if not results or any(result is None for result in results):
        raise UserError("the search has not ended", where=str(folder), remedy="go on with `hwcls sweep` and its file")
    config = sweep.config.confirm
    if config is None:
        seeds = more or ConfirmConfig().seeds
    elif missing(sweep, opened):
        seeds = config.seeds
    else:
        seeds = config.seeds + more
    if seeds < 2:
        raise UserError("one seed says nothing about chance", where="--add-seeds", remedy="add 2 or more; 5 are usual")
    return load_sweep(folder / "sweep.yaml", sets=[f"confirm.seeds={seeds}", f"name={folder.resolve().name}"])


def missing(sweep: Sweep, opened: SweepFolder) -> bool:
    """Whether a confirm run or a test score is still to come."""
    runs = plan(sweep, opened)
    if any(opened.confirm_run(run.label, run.seed).result() is None for run in runs):
        return True
    return bool(_unscored(sweep, opened, runs))


def _unscored(sweep: Sweep, opened: SweepFolder, runs: list[Run]) -> list[Run]:
    best = winners(opened, runs, sweep.config.metric.name, sweep.config.metric.goal)
    found = []
    for run in runs:
        result = opened.confirm_run(run.label, run.seed).result()
        if best.get(run.label) == run.trial and result and result.status == "complete" and "test" not in result.extra:
            found.append(run)
    return found


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


def jobs(opened: SweepFolder, runs: list[Run], resources: Resources, hang_after: float) -> list[dict[str, Any]]:
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
    sweep: Sweep, opened: SweepFolder, resources: Resources, recorder: Recorder, progress_for: Callable[[int], Progress]
) -> bool:
    """Retrain, rank again on val, score the winners on test; True when it was interrupted."""
    runs = plan(sweep, opened)
    todo = jobs(opened, runs, resources, sweep.config.hang_after)
    if todo:
        recorder.progress = progress_for(len(todo))
        recorder.progress.say(f"confirm: {len(todo)} runs on fresh seeds")
        if tune_run(opened, Queue(todo), None, recorder, resources, sweep.config.max_restarts):
            return True
    unscored = _unscored(sweep, opened, runs)
    if unscored:
        recorder.progress.say(f"confirm: the winners on test, {len(unscored)} runs")
        score(opened, unscored, resources)
    if sweep.config.keep == "none":
        for run in runs:
            (opened.confirm_run(run.label, run.seed).path / "best.safetensors").unlink(missing_ok=True)
    return False


def score(opened: SweepFolder, runs: list[Run], resources: Resources) -> None:
    """Score runs on the test split and write test_predictions.npz, the last line of metrics.jsonl and result.json."""
    task = ray.remote(_on_test).options(num_cpus=resources.cpus_per_worker, num_gpus=resources.gpus_per_worker)
    folders = [opened.confirm_run(run.label, run.seed) for run in runs]
    waiting = {task.remote(f.config().to_dict(), (f.path / "best.safetensors").read_bytes()): f for f in folders}
    while waiting:
        (ready,), _ = ray.wait(list(waiting), num_returns=1)
        folder = waiting.pop(ready)
        try:
            scored = ray.get(ready)
        except ray.exceptions.RayError as error:
            last = str(error).strip().splitlines()[-1]
            raise UserError(f"could not be scored on test: {last}", where=str(folder.path)) from None
        _write_score(folder, *scored)


def _on_test(values: dict[str, Any], weights: bytes) -> tuple[dict[str, float], Any, Any]:
    from hwcls.config.trial import TrialConfig
    from hwcls.inspection.evaluate import evaluate

    scored = evaluate(TrialConfig.from_dict(values), weights, "test")
    return scored.values, scored.labels, scored.scores


def _write_score(folder: TrialFolder, values: dict[str, float], labels: Any, scores: Any) -> None:
    save_arrays(folder.path / "test_predictions.npz", labels=labels, scores=scores)
    if not any("test/accuracy" in line for line in folder.records()):
        folder.append(values)
    result = folder.result()
    assert result is not None
    folder.write_result(Result(**{**vars(result), "extra": {**result.extra, "test": values}}))
