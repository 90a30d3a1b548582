"""`hwcls init` and `hwcls doctor`: a sweep file for images of one's own, and a check of this machine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwcls.cli.completion.completer import words
from hwcls.cli.console import app, echo, echo_wrapped
from hwcls.cli.options import AsJson, DataOptions, can_ask, takes_data_options

if TYPE_CHECKING:
    from hwcls.config.data import DataConfig
    from hwcls.init.budget import Goal

SHORTEST = 120  # seconds that `init --for` takes at least: a start and the confirm runs need a minute
SIGNS = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}
INDENT = 7  # characters of a sign and what follows it


@app.command()
@takes_data_options
def init(
    path: Annotated[
        str, typer.Argument(help="A folder, zip or tar of images, or what they were imported as.", show_default=False)
    ],
    goal: Annotated[
        str | None,
        typer.Option(
            help="quick (minutes) or thorough (an hour or two); by default what fits --for, or quick.",
            autocompletion=words("quick", "thorough"),
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--for", help="The time of the whole sweep: 20m, 2h.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The file, whose name the sweep gets too; by default PATH's name with .yaml.")
    ] = None,
    mirror: Annotated[
        bool | None,
        typer.Option("--mirror/--no-mirror", help="Whether a mirrored image keeps its class.", show_default=False),
    ] = None,
    as_json: AsJson = False,
    *,
    own: DataOptions,
) -> None:
    """Look at your images and write a sweep file that fits them.

    It fits this machine and your time as well, and each choice has a reason.

    Example: hwcls init photos/
    """
    from hwcls.cli.progress_bar import progress_reporter
    from hwcls.format import plain_name
    from hwcls.init.create import check_free, create, look
    from hwcls.init.describe import describe_found, describe_written, to_json
    from hwcls.init.plan import Wish

    chosen, seconds = _goal(goal, budget)
    config = _data_config(path, own)
    target = out or Path(f"{plain_name(config.title)}.yaml")
    check_free(target)
    with progress_reporter() as progress:
        found = look(config, chosen, progress)
    if not as_json:
        for line in describe_found(path, found):
            echo(line)
        if mirror is None and can_ask():
            mirror = not typer.confirm("May a mirrored image be another class?", default=True, err=True)
    with progress_reporter() as progress:
        title = config.title if out is None else out.stem
        wish = Wish(title, path, chosen, seconds, own.entries(), mirror, imported=config.path is None)
        written = create(found, wish, target, progress)
    if as_json:
        echo(json.dumps(to_json(found, written), indent=2))
        return
    for line in describe_written(written):
        echo(line)


def _data_config(path: str, own: DataOptions) -> DataConfig:
    """The data section of a path, or of the name of an import, and its options; raises UserError."""
    from pydantic import ValidationError

    from hwcls.config.data import DataConfig
    from hwcls.config.remedies.values import describe_error, first_error
    from hwcls.errors import UserError, nearest_path

    exists = os.path.exists(os.path.expanduser(path))
    if not exists and not _is_imported(path):
        what = "no such folder or archive, and nothing was imported under this name"
        raise UserError(what, where=path, remedy=nearest_path(Path(path).expanduser()))
    try:
        return DataConfig.model_validate({"path" if exists else "name": path, **own.entries()})
    except ValidationError as error:
        what, remedy = describe_error(first := first_error(error), DataConfig.model_fields, DataConfig)
        raise UserError(what, where=f"--{str(first['loc'][-1]).replace('_', '-')}", remedy=remedy) from None


def _is_imported(name: str) -> bool:
    """Whether images of a user's own were imported as `name`."""
    from hwcls.data.catalog import DATA_SETS, user_spec
    from hwcls.data.importer import find_imported

    return name not in DATA_SETS.names() and user_spec(name) is not None and find_imported(name) is not None


def _goal(name: str | None, budget: str | None) -> tuple[Goal, float]:
    """What is aimed at, and the seconds of the whole command; raises UserError."""
    from hwcls.config.sweep import parse_duration
    from hwcls.errors import UserError, did_you_mean
    from hwcls.init.budget import GOALS, choose_goal

    if name is not None and name not in GOALS:
        raise UserError(f"no goal '{name}'", where="--goal", remedy=did_you_mean(name, GOALS))
    try:
        seconds = None if budget is None else float(str(parse_duration(budget)))
    except ValueError as error:
        what, _, remedy = str(error).partition(" — ")
        raise UserError(what, where="--for", remedy=remedy) from None
    goal = choose_goal(name, seconds)
    if seconds is not None and seconds < SHORTEST:
        raise UserError(f"{budget} is too short for a sweep", where="--for", remedy="give it 2m or more")
    return goal, seconds or goal.seconds


@app.command()
def doctor(
    results: Annotated[Path, typer.Option(help="The folder that will hold the results.")] = Path("results"),
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster to check as well.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every check as JSON.")] = False,
) -> None:
    """Check what a sweep needs: GPU, disk, data, W&B, Ray. One remedy per line.

    Example: hwcls doctor
    """
    from hwcls.sweep.preflight.doctor.checks import run_checks

    checks = []
    for check in run_checks(results, address):
        checks.append(check)
        if not as_json:
            remedy = f" → {check.remedy}" if check.remedy else ""
            echo_wrapped(f"{SIGNS[check.state]}  {check.name}: {check.found}{remedy}", INDENT)
    if as_json:
        echo(json.dumps([check.to_dict() for check in checks], indent=2))
    if any(check.state == "wrong" for check in checks):
        raise typer.Exit(1)
