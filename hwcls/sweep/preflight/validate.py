"""What is checked before Ray, torch or Optuna are loaded: an error that needs none of them comes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hwcls.config.sweep import TRACKERS
from hwcls.config.sweep_file import Sweep
from hwcls.config.trial import TrialConfig
from hwcls.data.catalog import locate_config
from hwcls.errors import UserError
from hwcls.sweep.preflight.dry_run import known_data
from hwcls.sweep.search.earlier_results import check_earlier_results
from hwcls.sweep.storage import results_folder
from hwcls.sweep.storage.mirror import SharedResults
from hwcls.tracking.folders import SOURCES


@dataclass(frozen=True)
class Options:
    """How a sweep is run, beside its file."""

    results: Path = Path("results")
    new: bool = False
    wandb: str = "auto"
    address: str | None = None
    source: Path | None = None  # another sweep's results, whose trials are known from the start
    shared: SharedResults | None = None  # shared storage whose working copy `results` is


def check(sweep: Sweep, options: Options) -> Sweep:
    """Refuse what cannot start, with nothing written.

    Returns:
        The sweep under the name that it will run by: with `--new` one that is free.

    Raises:
        UserError: What the file, the trackers or the results folders do not allow.
    """
    corners = sweep.corners
    known_data(sweep, corners)
    _check_paths(sweep, corners, options)
    _check_trackers(sweep, options.wandb)
    if options.source is not None:
        check_earlier_results(options.source, sweep.config.metric)
    if options.new:
        taken = options.shared.sweep_names() if options.shared else ()
        sweep = sweep.renamed(results_folder.free_name(sweep.config.name, options.results, taken))
    if options.shared:
        options.shared.mirror(sweep.config.name).download()
    results_folder.check_folder(options.results / sweep.config.name, sweep.resolved())
    return sweep


def _check_trackers(sweep: Sweep, mode: str) -> None:
    for name in sweep.config.track:
        tracker = TRACKERS[name]
        tracker.check_installed(sweep.source.where(("track",)))
        tracker.check_login(mode)


def _check_paths(sweep: Sweep, corners: Sequence[TrialConfig], options: Options) -> None:
    """Files of the user's: images, and models where no copy of an earlier start stands in."""
    kept = (options.results / sweep.config.name / SOURCES).is_dir()
    for data in {(trial.data.name, trial.data.path): trial.data for trial in corners}.values():
        try:
            locate_config(data)
        except UserError as error:
            raise placed(sweep, error) from None
    for trial in corners:
        source = trial.model.source_file
        if source is not None and not kept and not source.is_file():
            branch = ("choice", trial.model.label) if trial.model.label else ()
            where = sweep.source.where(("parameters", "model", *branch))
            raise UserError(f"no model file '{source}'", where=where, remedy="name a file of yours: my_file.py:build")


def placed(sweep: Sweep, error: UserError) -> UserError:
    """An error of a data set, with its place in the sweep file."""
    if not error.where.startswith("data."):
        return error
    key, _, rest = error.where.partition(":")
    what = f"{rest.strip()}: {error.what}" if rest else error.what
    return UserError(what, where=sweep.source.where(("parameters", *key.split("."))), remedy=error.remedy)
