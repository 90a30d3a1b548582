"""The entry point of the `hwcls` script: the application with all its commands."""

from __future__ import annotations

import gc
import io
import os
import sys
from typing import Annotated

import typer

from hwcls import __version__
from hwcls.cli.commands import (  # noqa: F401  (each registers its commands)
    check_profile,
    compare_explain_trials,
    data,
    evaluate_predict,
    init_doctor,
    inspect_export,
    models,
    submit_slurm,
    sweep_confirm,
    train_ensemble,
    wandb,
)
from hwcls.cli.commands.pages import report_dashboard, runs_serve  # noqa: F401
from hwcls.cli.commands.papers import figures_tables  # noqa: F401
from hwcls.cli.commands.sweep_files import schema_explain_key  # noqa: F401
from hwcls.cli.commands.trackers import mlflow  # noqa: F401
from hwcls.cli.completion.bash_words import bash_completion
from hwcls.cli.console import SUMMARY, app, echo
from hwcls.cli.interrupt import leave_at_once


def _print_version(ctx: typer.Context, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:  # the shell completes a line
        echo(f"hwcls {__version__}")
        raise typer.Exit


@app.callback(help=SUMMARY)
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Handle the options that come before a command."""


def _open_streams() -> None:
    """Open the null device as each of the three standard streams that is closed: else the next file takes its place."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def main() -> None:
    """Run the command that sys.argv names."""
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
            stream.reconfigure(errors="replace")  # an odd locale has no arrow or dash
    try:
        with bash_completion():
            app()
    finally:
        leave_at_once()
        if "triton" not in sys.modules:  # it complains about a frozen collector
            gc.freeze()  # collecting what torch and Ray hold would take 2 s at exit
