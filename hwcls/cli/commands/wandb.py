"""`hwcls wandb`: upload to Weights & Biases, and a workspace there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hwcls.cli.console import app, echo
from hwcls.cli.options import ResultsFolders

wandb = typer.Typer(
    name="wandb", help="Weights & Biases: sync, workspace.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(wandb)


@wandb.command("sync")
def sync(folders: ResultsFolders) -> None:
    """Upload the runs that W&B does not have yet: of sweeps that ran offline or lost their connection.

    Example: hwcls wandb sync results/quickstart
    """
    from filelock import FileLock, Timeout

    from hwcls.errors import UserError
    from hwcls.inspection.media import build_media
    from hwcls.results.load import load_results
    from hwcls.tracking.folders import SweepFolder
    from hwcls.tracking.wandb.sync import sync_sweep

    found = {folder: load_results(folder).settings for folder in folders}
    projects = {folder: _project(folder, settings) for folder, settings in found.items()}
    for folder, settings in found.items():
        try:
            with FileLock(folder / ".tracking.lock", timeout=0):
                artifacts = bool(settings.get("artifacts"))
                uploaded = sync_sweep(SweepFolder(folder), projects[folder], build_media, artifacts=artifacts)
        except Timeout:
            what = "the sweep is still being tracked"
            raise UserError(what, where=str(folder), remedy="wait until it ends") from None
        echo(f"{f'{folder}: ' if len(found) > 1 else ''}{uploaded} runs uploaded to W&B")


def _project(folder: Path, settings: Mapping[str, Any]) -> str:
    """The W&B project that a results folder names; raises UserError for one that W&B refuses."""
    from hwcls.config.sweep import check_project
    from hwcls.errors import UserError

    try:
        return check_project(str(settings.get("project", "hwcls")))
    except ValueError as error:
        what, _, remedy = str(error).partition(" — ")
        raise UserError(what, where=f"{folder / 'sweep.yaml'}: project", remedy=remedy) from None


@wandb.command("workspace")
def workspace(
    folders: ResultsFolders,
    entity: Annotated[
        str | None, typer.Option(help="The user or team that the project belongs to.", show_default="your default")
    ] = None,
) -> None:
    """Save a W&B workspace for each sweep: curves, parallel coordinates, importance, run comparer, media.

    Run it again to update the same workspace. Needs: pip install 'hwcls[workspace]'

    Example: hwcls wandb workspace results/quickstart
    """
    from hwcls.errors import UserError
    from hwcls.results.load import load_results
    from hwcls.results.settings.marginal_effects import log_settings, trials_with_value, varied_settings
    from hwcls.tracking.folders import SweepFolder
    from hwcls.tracking.wandb.workspace import Axis, View, save_workspace

    if entity is not None and not re.fullmatch(r"[\w.-]+", entity):
        raise UserError(f"'{entity}' is not a user or team", where="--entity", remedy="write its name alone")
    loaded = {folder: load_results(folder) for folder in folders}
    projects = {folder: _project(folder, found.settings) for folder, found in loaded.items()}
    for folder, found in loaded.items():
        logs = log_settings(found)
        axes = [Axis(name, name in logs) for name in varied_settings(trials_with_value(found))]
        view = View(SweepFolder(folder).name, projects[folder], found.metric, found.goal, axes, entity)
        echo(save_workspace(SweepFolder(folder), view))
