"""What is left to do of the confirm runs, and more of them; needs no Ray."""

from __future__ import annotations

import os
from pathlib import Path

from hwcls.config.sweep import ConfirmConfig
from hwcls.config.sweep_file import Sweep, load_sweep
from hwcls.errors import UserError, wrong_folder
from hwcls.results.confirm.plan import ConfirmPlan, confirm_metric, place_of, plan_confirm
from hwcls.results.load import PICK, ConfirmRun, SweepResults, load_results
from hwcls.tracking.folders import SweepFolder


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
    if not os.path.lexists(folder / "sweep.yaml"):
        raise wrong_folder(where, "no sweep here", "name a sweep's results folder: results/<name>")
    sweep = load_sweep(folder / "sweep.yaml")
    results = [trial.result() for trial in SweepFolder(folder).trials().values()]
    if not results or any(result is None for result in results):
        raise UserError("the search has not ended", where=where, remedy="resume it with `hwcls sweep` and its file")
    config = sweep.config.confirm
    if config is None:
        seeds = more or ConfirmConfig().seeds
    elif is_incomplete(sweep, folder):
        seeds = config.seeds
    else:
        seeds = max(config.seeds, most_seeds(load_results(folder))) + more
    if seeds < 2 and (more or config is None):
        raise UserError("at least 2 seeds are needed", where="--add-seeds", remedy="add 2 or more; 5 are common")
    sets = [f"confirm.{key}={value}" for key, value in {"seeds": seeds, **_more_splits(config, seeds, more)}.items()]
    return load_sweep(folder / "sweep.yaml", sets=sets).renamed(folder.resolve().name)


def _more_splits(config: ConfirmConfig | None, seeds: int, more: int) -> dict[str, int]:
    """What else of `confirm` changes with the seeds: each gets a cut of its own, of folds in whole rounds."""
    if config is None or config.splits is None:
        return {}
    if config.fold_count is None:
        return {"splits": seeds}
    if lacking := -seeds % config.fold_count:
        what = f"a further round of the {config.fold_count} folds has {config.fold_count} runs, not {more}"
        raise UserError(what, where="--add-seeds", remedy=f"write --add-seeds {more + lacking}")
    return {"folds": config.fold_count}


def most_seeds(results: SweepResults) -> int:
    """How many seeds of a trial there are to report it: more than in the file once some were added."""
    places = [place_of(run.seed, run.run.number) for run in results.confirm if run.role != PICK]
    return 1 + max((place for place in places if place is not None), default=-1)


def waits_for_missing(folder: Path) -> bool:
    """Whether `add_seeds` adds none, as confirm runs are missing."""
    sweep = load_sweep(folder / "sweep.yaml")
    return sweep.config.confirm is not None and is_incomplete(sweep, folder)


def is_incomplete(sweep: Sweep, folder: Path) -> bool:
    """Whether a confirm run or a test score is missing."""
    if sweep.config.confirm is None:
        return False
    results = load_results(folder)
    plan, ended = plan_confirm(results, sweep.config.confirm), ended_runs(results)
    return bool(plan.waiting or unscored_runs(results, plan) or any(run.key not in ended for run in plan.runs))


def expected_epochs(sweep: Sweep) -> dict[str | None, float]:
    """Epochs of all confirm runs by alternative, if each has as many settings as `top`; empty without confirm."""
    config = sweep.config.confirm
    if config is None:
        return {}
    epochs = [trial.epochs for trial in sweep.corners]
    settings = {label: int(min(trials, size)) for label, trials, size in sweep.sizes}
    labels: list[str | None] = list(sweep.shares.labels) or [None]
    counts = {label: sum(runs) for label, runs in sweep.confirm_runs(settings, labels).items()}
    return {label: count * (min(epochs) + max(epochs)) / 2 for label, count in counts.items()}


def ended_runs(results: SweepResults) -> set[str]:
    """The keys of the confirm runs that have a result."""
    return {run.key for run in results.confirm if run.run.ended}


def unscored_runs(results: SweepResults, plan: ConfirmPlan) -> list[ConfirmRun]:
    """The complete runs of the winners that are without a test score; runs that picked a winner never get one."""
    keys, metric = {run.key for run in plan.runs}, confirm_metric(results)
    reports = [run for run in results.confirm if run.key in keys and plan.reports(run)]
    return [run for run in reports if run.complete and metric not in (run.test or {})]
