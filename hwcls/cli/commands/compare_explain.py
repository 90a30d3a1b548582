"""`hwcls compare` and `hwcls report`: what a results folder says."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwcls.cli.console import app, command

if TYPE_CHECKING:
    from rich.console import Console

Folder = Annotated[Path, typer.Argument(help="A sweep's results folder.", show_default=False)]


def table_console() -> Console:
    """The terminal at its width, and enough room for a table where there is none."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=160)


@app.command()
@command
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Results folders of sweeps.", show_default=False)],
    rows: Annotated[int, typer.Option(min=1, help="How many trials to show, shared by the alternatives.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="The leaderboard, as CSV.")] = False,
) -> None:
    """Print the leaderboard of a sweep, finished or running, or of several sweeps together.

    Example: hwcls compare results/quickstart
    """
    from hwcls.errors import UserError
    from hwcls.results.compare import csv_text, leaderboard, print_leaderboard, summary
    from hwcls.results.load import load_sweep
    from hwcls.results.several import cautions, print_together, together

    if as_json and as_csv:
        raise UserError("--json and --csv are two forms of the same", remedy="leave one of them out")
    found = [load_sweep(folder) for folder in folders]
    if as_csv:
        typer.echo(csv_text(together(found) if len(found) > 1 else leaderboard(found[0])), nl=False)
    elif as_json and len(found) > 1:
        tables = {"leaderboard": together(found), "cautions": cautions(found)}
        typer.echo(json.dumps({**tables, "sweeps": [summary(one) for one in found]}, indent=2, default=str))
    elif as_json:
        typer.echo(json.dumps(summary(found[0]), indent=2, default=str))
    elif len(found) > 1:
        print_together(found, table_console(), rows)
    else:
        print_leaderboard(found[0], table_console(), rows)


@app.command()
@command
def report(
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="The written files, as JSON.")] = False,
) -> None:
    """Write report.html and leaderboard.csv of a sweep again.

    Example: hwcls report results/quickstart
    """
    from hwcls.report.html.page import write_page

    page = write_page(folder)
    if as_json:
        typer.echo(json.dumps({"report": str(page), "leaderboard": str(folder / "leaderboard.csv")}))
    else:
        typer.echo(f"report: {page}")


@app.command()
@command
def explain(
    a: Annotated[Path, typer.Argument(help="A trial's folder: results/<name>/trials/<n>.", show_default=False)],
    b: Annotated[Path, typer.Argument(help="Another trial's folder.", show_default=False)],
    rows: Annotated[int, typer.Option(min=1, help="How many classes and images to show.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Set two trials side by side: settings, classes won and lost, images on which they differ.

    Example: hwcls explain results/quickstart/trials/3 results/quickstart/trials/7
    """
    from hwcls.results.explain import explain as run
    from hwcls.results.explain import print_explained

    found = run(a, b)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2, default=str))
        return
    names = [f"{path.resolve().parent.name}/{path.resolve().name}" for path in (a, b)]
    print_explained(found, (names[0], names[1]), table_console(), rows)


@app.command()
@command
def dashboard(
    folder: Folder,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where it listens, on this machine alone.")] = 8080,
) -> None:
    """Serve optuna-dashboard on a sweep's study, finished or running, until Ctrl-C.

    Needs: pip install 'hwcls[dashboard]'

    Example: hwcls dashboard results/quickstart
    """
    from hwcls.sweep.monitor.dashboard import serve

    serve(folder, port)
