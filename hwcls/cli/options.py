"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwcls.errors import UserError, did_you_mean

WANDB = ("online", "offline", "off", "auto")

SweepFile = Annotated[Path, typer.Argument(help="The sweep file, YAML.", show_default=False)]
Preset = Annotated[str | None, typer.Option(help="Apply one of the file's presets.", show_default=False)]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="Set any entry: a.b=value. Repeatable.", show_default=False)
]
New = Annotated[bool, typer.Option("--new", help="Start beside older results instead of going on.")]
Wandb = Annotated[str, typer.Option(help="online, offline, off, or auto: online where you are logged in.")]
Cluster = Annotated[
    str | None,
    typer.Option("--address", help="A running Ray cluster; without it this machine.", show_default=False),
]
Budget = Annotated[str | None, typer.Option("--for", help="Time instead of run_cap: 2h, 90m.", show_default=False)]


def check_wandb(mode: str) -> None:
    """Raises UserError where `mode` is none of WANDB."""
    if mode not in WANDB:
        raise UserError(f"unknown mode '{mode}'", where="--wandb", remedy=did_you_mean(mode, WANDB))
