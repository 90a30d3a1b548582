"""`hwcls wandb`: what concerns Weights & Biases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwcls.cli.app import app, command

wandb = typer.Typer(name="wandb", help="Weights & Biases: sync.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(wandb)


@wandb.command("sync")
@command
def sync(folder: Annotated[Path, typer.Argument(help="A sweep's results folder.", show_default=False)]) -> None:
    """Send what W&B does not have yet of a sweep that ran offline or without a connection.

    Example: hwcls wandb sync results/quickstart
    """
    from filelock import FileLock, Timeout

    from hwcls.errors import UserError
    from hwcls.report.load import load_sweep
    from hwcls.tracking.records import SweepFolder
    from hwcls.tracking.wandb import sync as send

    project = str(load_sweep(folder).settings.get("project", "hwcls"))
    try:
        with FileLock(folder / ".tracking.lock", timeout=0):
            typer.echo(f"{send(SweepFolder(folder), project)} runs sent to W&B")
    except Timeout:
        raise UserError("the sweep is still being tracked", where=str(folder), remedy="wait for its end") from None
