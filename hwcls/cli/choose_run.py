"""Which run a path on the command line means: a trial's folder is itself, a sweep's stands for its best run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hwcls.cli.console import print_to_stderr
from hwcls.errors import UserError, wrong_folder

if TYPE_CHECKING:
    from hwcls.results.best.choose import BestRun
    from hwcls.results.load import SweepResults


MEMBERS = "ensemble.json"  # as in hwcls.tracking.folders, whose import would cost time
SWEEP = "hwcls.sweep"  # in a context's meta: the name of the sweep whose best run was chosen


def choose_trial(ctx: typer.Context, path: Path) -> Path:
    """The folder with the weights that are meant; one line says which they are, unless the path names a trial."""
    if ctx.resilient_parsing or path.name == "config.yaml":  # the shell completes a line
        return path
    if _is_sweep(path):
        from hwcls.results.best.choose import choose_best

        ctx.meta[SWEEP] = path.resolve().name
        return _choose(choose_best, path)
    if origin := _read_ensemble(path) or _read_origin(path):
        print_to_stderr(f"model: {origin['why']}")
    return path


def choose_recorded(ctx: typer.Context, path: Path) -> Path:
    """As `choose_trial`, but the run itself in place of its copy in best/, which lacks what training recorded."""
    _refuse_ensemble(path)
    chosen = choose_trial(ctx, path)
    origin = None if ctx.resilient_parsing or chosen.name == "config.yaml" else _read_origin(chosen)
    run = chosen.parent / str(origin["run"]) if origin else chosen
    return run if run.is_dir() else chosen


def choose_config(path: Path) -> Path:
    """The config.yaml that is meant, to train or measure its model; a file is itself."""
    if not path.is_dir():
        return path
    _refuse_ensemble(path)
    if not _is_sweep(path):
        return path / "config.yaml"
    from hwcls.results.best.choose import choose_repeated

    return _choose(choose_repeated, path) / "config.yaml"


def _is_sweep(path: Path) -> bool:
    """Whether this is a sweep's folder; raises UserError where it is no trial's either."""
    if os.path.lexists(path / "sweep.yaml"):  # also a damaged one, which is then named
        return True
    if not (os.path.lexists(path / "config.yaml") or (path / "trials").is_dir() or os.path.lexists(path / MEMBERS)):
        remedy = "name a sweep's folder, results/<sweep>, or a trial's, results/<sweep>/trials/<n>"
        raise wrong_folder(path, "holds neither a trial nor a sweep", remedy)
    return False


def _refuse_ensemble(path: Path) -> None:
    """Raise UserError where a single model is needed, and the folder holds several."""
    if os.path.lexists(path / MEMBERS):
        raise UserError("holds an ensemble", where=str(path), remedy=f"name one of its models, such as {path / '1'}")


def _choose(choose: Callable[[SweepResults], BestRun | None], path: Path) -> Path:
    """The folder of a sweep's best run, after a line that says which it is and why."""
    from hwcls.results.load import load_results

    found = choose(load_results(path))
    if found is None:
        raise UserError("no trial has a value yet", where=str(path), remedy="wait for its first epoch")
    print_to_stderr(f"model: {found.why}")
    return found.weights or found.run.folder


def _read_ensemble(path: Path) -> dict[str, str] | None:
    from hwcls.reading import read_json
    from hwcls.tracking.shapes import EnsembleShape

    return read_json(path / MEMBERS, EnsembleShape) if os.path.lexists(path / MEMBERS) else None


def _read_origin(path: Path) -> dict[str, str] | None:
    from hwcls.tracking.folders import TrialFolder

    return TrialFolder(path).origin()
