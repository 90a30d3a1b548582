"""`hwcls compare` and `hwcls report`: what a results folder says."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwcls.cli.app import app, command

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
    folder: Folder,
    rows: Annotated[int, typer.Option(min=1, help="How many trials to show, shared by the alternatives.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Print the leaderboard of a sweep, finished or running.

    Example: hwcls compare results/quickstart
    """
    from hwcls.report.compare import print_leaderboard, summary
    from hwcls.report.load import load_sweep

    found = load_sweep(folder)
    if as_json:
        typer.echo(json.dumps(summary(found), indent=2, default=str))
        return
    print_leaderboard(found, table_console(), rows)


@app.command()
@command
def report(
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="The written files, as JSON.")] = False,
) -> None:
    """Write report.html and leaderboard.csv of a sweep again.

    Example: hwcls report results/quickstart
    """
    from hwcls.report.page import write_page

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
    from hwcls.report.explain import explain as run
    from hwcls.report.explain import print_explained

    found = run(a, b)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2, default=str))
        return
    names = [f"{path.resolve().parent.name}/{path.resolve().name}" for path in (a, b)]
    print_explained(found, (names[0], names[1]), table_console(), rows)
