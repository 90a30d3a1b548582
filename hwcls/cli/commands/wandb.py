"""`hwcls wandb`: upload to Weights & Biases, and a workspace there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwcls.cli.console import app, echo
from hwcls.cli.options import ResultsFolders
from hwcls.format import format_count

if TYPE_CHECKING:
    from hwcls.tracking.folders import SweepFolder
    from hwcls.tracking.tracker import SweepSummary

wandb = typer.Typer(
    name="wandb", help="Weights & Biases: sync, workspace, report.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(wandb)


@wandb.command("sync")
def sync(folders: ResultsFolders) -> None:
    """Upload the runs that W&B does not have yet. They are of sweeps that ran offline or lost their connection.

    Example: hwcls wandb sync results/quickstart
    """
    from filelock import FileLock, Timeout

    from hwcls.errors import UserError
    from hwcls.inspection.media import build_media
    from hwcls.results.load import load_results
    from hwcls.results.sweep_summary import summarize_sweep
    from hwcls.tracking.folders import SweepFolder
    from hwcls.tracking.wandb.sync import sync_sweep

    found = {folder: load_results(folder) for folder in folders}
    projects = {folder: _project(folder, results.settings) for folder, results in found.items()}
    for folder, results in found.items():
        artifacts, summary = (
            bool(results.settings.get("artifacts")),
            summarize_sweep(results, projects[folder], folder / "report.html"),
        )
        try:
            with FileLock(folder / ".tracking.lock", timeout=0):
                uploaded = sync_sweep(
                    SweepFolder(folder), projects[folder], build_media, artifacts=artifacts, summary=summary
                )
        except Timeout:
            what = "the sweep is still being tracked"
            raise UserError(what, where=str(folder), remedy="wait until it ends") from None
        echo(f"{f'{folder}: ' if len(found) > 1 else ''}{format_count(uploaded, 'run')} uploaded to W&B")


def _project(folder: Path, settings: Mapping[str, Any]) -> str:
    """The W&B project that a results folder names; raises UserError for one that W&B refuses."""
    from hwcls.config.sweep import check_project
    from hwcls.errors import UserError

    try:
        return check_project(str(settings.get("project", "hwcls")))
    except ValueError as error:
        what, _, remedy = str(error).partition(" — ")
        raise UserError(what, where=f"{folder / 'sweep.yaml'}: project", remedy=remedy) from None


Entity = Annotated[
    str | None, typer.Option(help="The user or team that the project belongs to.", show_default="that of the runs")
]


@wandb.command("workspace")
def workspace(folders: ResultsFolders, entity: Entity = None) -> None:
    """Save a W&B workspace for each sweep. It has curves, parallel coordinates, importance, run comparer, media.

    Run it again to update the same workspace. Needs: pip install 'hwcls[workspace]'

    Example: hwcls wandb workspace results/quickstart
    """
    from hwcls.tracking.wandb.workspace import save_workspace

    _save_each(save_workspace, folders, entity)


@wandb.command("report")
def report(folders: ResultsFolders, entity: Entity = None) -> None:
    """Save a W&B report for each sweep. It has the answer, the alternatives, curves and charts of the search.

    Run it again to update the same report. Needs: pip install 'hwcls[workspace]'

    Example: hwcls wandb report results/quickstart
    """
    from hwcls.tracking.wandb.report import save_report

    _save_each(save_report, folders, entity)


def _save_each(
    save: Callable[[SweepFolder, SweepSummary, str | None], str], folders: list[Path], entity: str | None
) -> None:
    """Save something of each sweep at W&B, and print its address; without an entity that of its runs owns it."""
    from hwcls.errors import UserError
    from hwcls.results.load import load_results
    from hwcls.results.sweep_summary import summarize_sweep
    from hwcls.tracking.folders import SweepFolder
    from hwcls.tracking.wandb.settings import check_entity

    try:
        if entity is not None:
            check_entity(entity)
    except ValueError as error:
        raise UserError(str(error), where="--entity") from None
    loaded = {folder: load_results(folder) for folder in folders}
    projects = {folder: _project(folder, found.settings) for folder, found in loaded.items()}
    for folder, found in loaded.items():
        echo(save(SweepFolder(folder), summarize_sweep(found, projects[folder]), entity))
