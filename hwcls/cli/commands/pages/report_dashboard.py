"""`hwcls report` and `hwcls dashboard`: a sweep in the browser."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hwcls.cli.console import app, echo
from hwcls.cli.options import ResultsFolder, ResultsFolders


@app.command()
def report(
    folders: ResultsFolders,
    as_json: Annotated[bool, typer.Option("--json", help="Print the paths of the files as JSON.")] = False,
) -> None:
    """Write report.html and leaderboard.csv of a sweep again. Two sweeps get a page that compares them as well.

    The comparison is in the first folder. `hwcls compare` has the leaderboard of several sweeps together.

    Example: hwcls report results/quickstart
    """
    from hwcls.report.html.comparison import write_comparison
    from hwcls.report.html.page import write_page
    from hwcls.results.load import read_settings
    from hwcls.tracking.folders import is_in_use

    for folder in folders:  # before any is written
        read_settings(folder)
    written, different = [], list(dict.fromkeys(folders))
    for folder in different:
        page = write_page(folder, running=is_in_use(folder))
        written.append({"report": str(page), "leaderboard": str(folder / "leaderboard.csv")})
        if not as_json:
            echo(f"report: {page}")
    if len(different) == 2:
        comparison = write_comparison(different[0], different[1])
        written = [one | {"comparison": str(comparison)} for one in written]
        if not as_json:
            echo(f"comparison: {comparison}")
    if as_json:
        echo(json.dumps(written if len(folders) > 1 else written[0]))


@app.command()
def dashboard(
    folder: ResultsFolder,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on, on this machine alone.")] = 8080,
) -> None:
    """Serve optuna-dashboard for a sweep until Ctrl-C. The sweep may be running; the dashboard changes nothing.

    Needs: pip install 'hwcls[dashboard]'

    Example: hwcls dashboard results/quickstart
    """
    from hwcls.sweep.monitor.dashboard import serve_dashboard

    serve_dashboard(folder, port)
