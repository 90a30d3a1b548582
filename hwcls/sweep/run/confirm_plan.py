"""Confirm: selects the trials that are retrained on fresh seeds, and the winner of each alternative; needs no Ray."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from hwcls.config.sweep import ConfirmConfig
from hwcls.config.sweep_file import Sweep, load_sweep
from hwcls.errors import UserError
from hwcls.tracking.folders import SweepFolder

FIRST_SEED = 10_000_000  # of confirm runs; those of the search are smaller


@dataclass(frozen=True)
class ConfirmRun:
    """One retraining of a trial."""

    label: str
    trial: int
    seed: int

    @property
    def key(self) -> str:
        return f"confirm/{self.label}/{self.seed}"


def plan_runs(sweep: Sweep, opened: SweepFolder) -> list[ConfirmRun]:
    """Every confirm run: the top trials of each alternative, each on seeds of its own."""
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
            runs += [ConfirmRun(label, number, FIRST_SEED + 1000 * number + s) for s in range(config.seeds)]
    return runs


def find_winners(opened: SweepFolder, runs: list[ConfirmRun], metric: str, goal: str) -> dict[str, int]:
    """The trial of each alternative with the best mean on val over its confirm runs."""
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


def add_seeds(folder: Path, more: int, shown: str | None = None) -> Sweep:
    """The sweep of a results folder with `more` seeds to confirm; none are added while confirm runs are missing.

    Args:
        folder: The results.
        more: Seeds to add.
        shown: The folder as errors show it.

    Raises:
        UserError: There is no sweep, or its search has not ended.
    """
    where = shown or str(folder)
    if not (folder / "sweep.yaml").is_file():
        raise UserError("no sweep here", where=where, remedy="name a sweep's results folder: results/<name>")
    sweep, opened = load_sweep(folder / "sweep.yaml"), SweepFolder(folder)
    results = [trial.result() for trial in opened.trials().values()]
    if not results or any(result is None for result in results):
        raise UserError("the search has not ended", where=where, remedy="resume it with `hwcls sweep` and its file")
    config = sweep.config.confirm
    if config is None:
        seeds = more or ConfirmConfig().seeds
    elif is_incomplete(sweep, opened):
        seeds = config.seeds
    else:
        seeds = config.seeds + more
    if seeds < 2:
        raise UserError("at least 2 seeds are needed", where="--add-seeds", remedy="add 2 or more; 5 are common")
    return load_sweep(folder / "sweep.yaml", sets=[f"confirm.seeds={seeds}"]).renamed(folder.resolve().name)


def is_incomplete(sweep: Sweep, opened: SweepFolder) -> bool:
    """Whether a confirm run or a test score is missing."""
    runs = plan_runs(sweep, opened)
    if any(opened.confirm_run(run.label, run.seed).result() is None for run in runs):
        return True
    return bool(unscored_runs(sweep, opened, runs))


def unscored_runs(sweep: Sweep, opened: SweepFolder, runs: list[ConfirmRun]) -> list[ConfirmRun]:
    """The winners' runs without a test score."""
    best = find_winners(opened, runs, sweep.config.metric.name, sweep.config.metric.goal)
    found = []
    for run in runs:
        result = opened.confirm_run(run.label, run.seed).result()
        if best.get(run.label) == run.trial and result and result.status == "complete" and "test" not in result.extra:
            found.append(run)
    return found
