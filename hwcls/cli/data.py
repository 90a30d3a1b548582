"""`hwcls data`: which data sets there are, and how they get here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hwcls.cli.app import app, command

data = typer.Typer(name="data", help="Data sets: list, fetch, import.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data)

Name = Annotated[str, typer.Argument(help="A data set's name, see `hwcls data list`.", show_default=False)]


@data.command("list")
@command
def list_all(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the data sets that hwcls knows, and where their files were found.

    Example: hwcls data list
    """
    from hwcls.data.catalog import list_data

    found = list_data()
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for entry in found:
        typer.echo(f"{entry['name']:14} {entry['what']:52} {entry['found'] or 'not found'}")


@data.command("fetch")
@command
def fetch_one(name: Name) -> None:
    """Download a data set, or finish an interrupted download.

    Example: hwcls data fetch fashion_mnist
    """
    from hwcls.data.fetch import fetch

    path = fetch(name, lambda text: typer.echo(text, err=True))
    typer.echo(f"{name}: {path}" if path else f"{name} needs no download")


@data.command("import")
@command
def import_one(
    name: Name, path: Annotated[Path, typer.Argument(help="An archive or a folder that you have.", show_default=False)]
) -> None:
    """Take a data set from an archive or a folder.

    Example: hwcls data import tinyimagenet ~/Downloads/tiny-imagenet-200.zip
    """
    from hwcls.data.fetch import import_data

    typer.echo(f"{name}: {import_data(name, path)}")
