"""`hwcls mlflow`: deliver to MLflow."""

from __future__ import annotations

import typer

from hwcls.cli.console import app, echo
from hwcls.cli.options import ResultsFolders, TrustCode
from hwcls.format import format_count

mlflow = typer.Typer(name="mlflow", help="MLflow: sync.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(mlflow)


@mlflow.callback()
def group() -> None:
    """MLflow: sync."""


@mlflow.command("sync")
def sync(folders: ResultsFolders, trust_code: TrustCode = False) -> None:
    """Deliver to MLflow what it does not have yet. For sweeps without MLflow, or whose server was down.

    The runs go to MLFLOW_TRACKING_URI, or else to the place that the sweep names, or to a database in its folder.
    Credentials go to the place that a sweep names only with --trust-code.
    Needs: pip install 'hwcls[mlflow]'

    Example: hwcls mlflow sync results/quickstart
    """
    from filelock import FileLock, Timeout

    from hwcls.errors import UserError
    from hwcls.inspection.media import build_media
    from hwcls.results.load import load_results
    from hwcls.tracking.folders import SweepFolder
    from hwcls.tracking.mlflow.place import require_trusted
    from hwcls.tracking.mlflow.settings import read_settings
    from hwcls.tracking.mlflow.sync import sync_sweep

    found = {folder: load_results(folder).settings for folder in folders}
    for folder, settings in found.items():
        if not trust_code:
            require_trusted(read_settings(SweepFolder(folder)).uri, str(folder / "sweep.yaml"))
        project, artifacts = str(settings.get("project", "hwcls")), bool(settings.get("artifacts"))
        try:
            with FileLock(folder / ".tracking.lock", timeout=0):
                delivered, place = sync_sweep(SweepFolder(folder), project, build_media, artifacts=artifacts)
        except Timeout:
            what = "the sweep is still being tracked"
            raise UserError(what, where=str(folder), remedy="wait until it ends") from None
        echo(f"{f'{folder}: ' if len(found) > 1 else ''}{format_count(delivered, 'run')} delivered to {place}")
