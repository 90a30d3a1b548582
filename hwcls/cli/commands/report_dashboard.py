"""`hwcls report` and `hwcls dashboard`: a sweep in the browser."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hwcls.cli.console import app
from hwcls.cli.options import ResultsFolder


@app.command()
def report(
    folder: ResultsFolder,
    as_json: Annotated[bool, typer.Option("--json", help="Print the paths of the files as JSON.")] = False,
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
def dashboard(
    folder: ResultsFolder,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on, on this machine alone.")] = 8080,
) -> None:
    """Serve optuna-dashboard for a sweep's study, finished or running, until Ctrl-C.

    Needs: pip install 'hwcls[dashboard]'

    Example: hwcls dashboard results/quickstart
    """
    from hwcls.sweep.monitor.dashboard import serve_dashboard

    serve_dashboard(folder, port)
