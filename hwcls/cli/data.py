"""`hwcls data`: which data sets there are, and how they get here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hwcls.cli.app import app, command

data = typer.Typer(
    name="data", help="Data sets: list, fetch, import, show, verify.", no_args_is_help=True, rich_markup_mode=None
)
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


@data.command("show")
@command
def show_one(
    name: Name,
    out: Annotated[Path | None, typer.Option(help="The PNG to write; by default NAME.png.", show_default=False)] = None,
    path: Annotated[str | None, typer.Option(help="The folder of an imagefolder.", show_default=False)] = None,
) -> None:
    """Write a picture of some images of each class, as they are and as training sees them.

    Example: hwcls data show digits
    """
    from hwcls.config.data import DataConfig
    from hwcls.data.imageset import open_data
    from hwcls.data.show import picture_grid

    config = DataConfig(name=name, path=path)
    target = out or Path(f"{name}.png")
    picture_grid(open_data(config, lambda text: typer.echo(text, err=True)), config, target)
    typer.echo(f"{name}: {target}")


@data.command("verify")
@command
def verify_one(
    name: Name,
    path: Annotated[str | None, typer.Option(help="The folder of an imagefolder.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Hold the decoded pixels of a data set against the sums that were taken when they were decoded.

    Example: hwcls data verify digits
    """
    from hwcls.config.data import DataConfig
    from hwcls.data.store import open_store, verify

    store = open_store(DataConfig(name=name, path=path), lambda text: typer.echo(text, err=True))
    wrong = verify(store)
    if as_json:
        typer.echo(json.dumps({"name": name, "store": str(store.folder), "wrong": wrong}, indent=2))
    else:
        for line in wrong:
            typer.echo(line)
        typer.echo(f"{name}: {len(wrong)} wrong" if wrong else f"{name}: every image is as it was decoded")
    if wrong:
        raise typer.Exit(1)
