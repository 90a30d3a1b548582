"""`hwcls wandb`: upload to Weights & Biases, and a workspace there."""

from __future__ import annotations

from typing import Annotated

import typer

from hwcls.cli.console import app
from hwcls.cli.options import ResultsFolder

wandb = typer.Typer(
    name="wandb", help="Weights & Biases: sync, workspace.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(wandb)


@wandb.command("sync")
def sync(folder: ResultsFolder) -> None:
    """Upload the runs that W&B does not have yet: of a sweep that ran offline or lost its connection.

    Example: hwcls wandb sync results/quickstart
    """
    from filelock import FileLock, Timeout

    from hwcls.errors import UserError
    from hwcls.inspection.media import build_media
    from hwcls.results.load import load_results
    from hwcls.tracking.folders import SweepFolder
    from hwcls.tracking.wandb.sync import sync_sweep

    settings = load_results(folder).settings
    project, artifacts = str(settings.get("project", "hwcls")), bool(settings.get("artifacts"))
    try:
        with FileLock(folder / ".tracking.lock", timeout=0):
            uploaded = sync_sweep(SweepFolder(folder), project, build_media, artifacts=artifacts)
            typer.echo(f"{uploaded} runs uploaded to W&B")
    except Timeout:
        raise UserError("the sweep is still being tracked", where=str(folder), remedy="wait until it ends") from None


@wandb.command("workspace")
def workspace(
    folder: ResultsFolder,
    entity: Annotated[
        str | None, typer.Option(help="The user or team that the project belongs to.", show_default="your default")
    ] = None,
) -> None:
    """Save a W&B workspace for a sweep: curves, parallel coordinates, importance, run comparer, media.

    Run it again to update the same workspace. Needs: pip install 'hwcls[workspace]'

    Example: hwcls wandb workspace results/quickstart
    """
    from hwcls.results.load import load_results
    from hwcls.results.settings.marginal_effects import log_settings, trials_with_value, varied_settings
    from hwcls.tracking.folders import SweepFolder
    from hwcls.tracking.wandb.workspace import Axis, View, save_workspace

    found = load_results(folder)
    logs = log_settings(found)
    settings = [Axis(name, name in logs) for name in varied_settings(trials_with_value(found))]
    project = str(found.settings.get("project", "hwcls"))
    view = View(SweepFolder(folder).name, project, found.metric, found.goal, settings, entity)
    typer.echo(save_workspace(SweepFolder(folder), view))
