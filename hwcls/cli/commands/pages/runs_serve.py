"""`hwcls runs` and `hwcls serve`: all sweeps of a folder, in the terminal and in the browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hwcls.cli.console import app, echo, print_to_stderr, table_console
from hwcls.cli.options import AsJson
from hwcls.report.serve.listen import DEFAULT_PORT, address, listen

SweepsFolder = Annotated[Path, typer.Argument(metavar="[FOLDER]", help="The folder of the sweeps.")]


@app.command()
def runs(folder: SweepsFolder = Path("results"), as_json: AsJson = False) -> None:
    """List the sweeps of a folder, with state and answer. It also has the trials that ended and the best value on val.

    Example: hwcls runs
    """
    from hwcls.report.terminal.sweeps import print_sweeps
    from hwcls.results.sweeps.find import find_sweeps
    from hwcls.results.sweeps.summary import summarize_sweep

    found = [summarize_sweep(path) for path in find_sweeps(folder)]
    if as_json:
        echo(json.dumps([one.to_dict() for one in found], indent=2, default=str))
    elif found:
        print_sweeps(found, table_console())
    else:
        echo(f"{folder}: no sweeps")


@app.command()
def serve(
    folder: SweepsFolder = Path("results"),
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to listen on, on this machine alone; 0: any free one.")
    ] = DEFAULT_PORT,
) -> None:
    """Serve the pages of all sweeps of a folder until Ctrl-C. They may be running. Nothing is written to the folder.

    Example: hwcls serve results
    """
    from hwcls.report.serve import server
    from hwcls.results.sweeps.find import find_sweeps

    find_sweeps(folder)  # raises where there is no folder
    listening = listen(port)
    with server.serve(folder, listening) as serving:
        print_to_stderr(f"serving {folder} on {address(listening)} until Ctrl-C")
        serving.serve_forever()
