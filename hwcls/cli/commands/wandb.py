"""`hwcls wandb`: what concerns Weights & Biases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwcls.cli.console import app, command

wandb = typer.Typer(
    name="wandb", help="Weights & Biases: sync, workspace.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(wandb)


@wandb.command("sync")
@command
def sync(folder: Annotated[Path, typer.Argument(help="A sweep's results folder.", show_default=False)]) -> None:
    """Send what W&B does not have yet of a sweep that ran offline or without a connection.

    Example: hwcls wandb sync results/quickstart
    """
    from filelock import FileLock, Timeout

    from hwcls.errors import UserError
    from hwcls.inspection.media import media
    from hwcls.results.load import load_sweep
    from hwcls.tracking.folders import SweepFolder
    from hwcls.tracking.wandb.tracker import sync as send

    settings = load_sweep(folder).settings
    project, artifacts = str(settings.get("project", "hwcls")), bool(settings.get("artifacts"))
    try:
        with FileLock(folder / ".tracking.lock", timeout=0):
            sent = send(SweepFolder(folder), project, media, artifacts=artifacts)
            typer.echo(f"{sent} runs sent to W&B")
    except Timeout:
        raise UserError("the sweep is still being tracked", where=str(folder), remedy="wait for its end") from None


@wandb.command("workspace")
@command
def workspace(
    folder: Annotated[Path, typer.Argument(help="A sweep's results folder.", show_default=False)],
    entity: Annotated[
        str | None, typer.Option(help="The user or team that the project belongs to.", show_default="your default")
    ] = None,
) -> None:
    """Save a W&B workspace for a sweep: curves, parallel coordinates, importance, run comparer, media.

    Once more, the same one is saved anew. Needs: pip install 'hwcls[workspace]'

    Example: hwcls wandb workspace results/quickstart
    """
    from hwcls.report.html.charts.search import logarithmic
    from hwcls.results.load import load_sweep
    from hwcls.results.marginal_effects import valued, varied
    from hwcls.tracking.folders import SweepFolder
    from hwcls.tracking.wandb.workspace import Axis, View, save_workspace

    found = load_sweep(folder)
    logs = logarithmic(found)
    settings = [Axis(name, name in logs) for name in varied(valued(found))]
    project = str(found.settings.get("project", "hwcls"))
    view = View(SweepFolder(folder).name, project, found.metric, found.goal, settings, entity)
    typer.echo(save_workspace(SweepFolder(folder), view))
