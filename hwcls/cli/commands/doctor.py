"""`hwcls doctor`: checks of this machine before a sweep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hwcls.cli.console import app, echo

SIGNS = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


@app.command()
def doctor(
    results: Annotated[Path, typer.Option(help="The folder that will hold the results.")] = Path("results"),
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster to check as well.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every check as JSON.")] = False,
) -> None:
    """Check what a sweep needs: GPU, disk, data, W&B, Ray; one remedy per line.

    Example: hwcls doctor
    """
    from hwcls.sweep.preflight.doctor import run_checks

    checks = []
    for check in run_checks(results, address):
        checks.append(check)
        if not as_json:
            remedy = f" → {check.remedy}" if check.remedy else ""
            echo(f"{SIGNS[check.state]}  {check.name}: {check.found}{remedy}")
    if as_json:
        echo(json.dumps([check.to_dict() for check in checks], indent=2))
    if any(check.state == "wrong" for check in checks):
        raise typer.Exit(1)
