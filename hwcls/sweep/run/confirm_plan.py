"""Confirm: which trials of each alternative run again on fresh seeds, and which of them win; needs no Ray."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from hwcls.config.sweep import ConfirmConfig
from hwcls.config.sweep_file import Sweep, load_sweep
from hwcls.errors import UserError
from hwcls.tracking.folders import SweepFolder

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


def again(folder: Path, more: int, called: str | None = None) -> Sweep:
    """The sweep of a results folder, to be confirmed on `more` seeds than before; the user `called` the folder so.

    Where runs that were asked for are still missing, nothing is added: they come first.

    Raises:
        UserError: There is no sweep there, or its search has not ended.
    """
    where = called or str(folder)
    if not (folder / "sweep.yaml").is_file():
        raise UserError("no sweep here", where=where, remedy="name a sweep's results folder: results/<name>")
    sweep, opened = load_sweep(folder / "sweep.yaml"), SweepFolder(folder)
    results = [trial.result() for trial in opened.trials().values()]
    if not results or any(result is None for result in results):
        raise UserError("the search has not ended", where=where, remedy="go on with `hwcls sweep` and its file")
    config = sweep.config.confirm
    if config is None:
        seeds = more or ConfirmConfig().seeds
    elif missing(sweep, opened):
        seeds = config.seeds
    else:
        seeds = config.seeds + more
    if seeds < 2:
        raise UserError("one seed says nothing about chance", where="--add-seeds", remedy="add 2 or more; 5 are usual")
    return load_sweep(folder / "sweep.yaml", sets=[f"confirm.seeds={seeds}"]).renamed(folder.resolve().name)


def missing(sweep: Sweep, opened: SweepFolder) -> bool:
    """Whether a confirm run or a test score is still to come."""
    runs = plan(sweep, opened)
    if any(opened.confirm_run(run.label, run.seed).result() is None for run in runs):
        return True
    return bool(unscored(sweep, opened, runs))


def unscored(sweep: Sweep, opened: SweepFolder, runs: list[Run]) -> list[Run]:
    """The winners' runs that were not scored on test yet."""
    best = winners(opened, runs, sweep.config.metric.name, sweep.config.metric.goal)
    found = []
    for run in runs:
        result = opened.confirm_run(run.label, run.seed).result()
        if best.get(run.label) == run.trial and result and result.status == "complete" and "test" not in result.extra:
            found.append(run)
    return found
