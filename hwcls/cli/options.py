"""Arguments and options that several commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from hwcls.errors import UserError, did_you_mean

WANDB_MODES = ("online", "offline", "off", "auto")


def choose_trial(ctx: typer.Context, path: Path) -> Path:
    """The folder itself if it is a trial's; of a sweep the one whose weights stand for its answer."""
    if ctx.resilient_parsing or path.name == "config.yaml":  # the shell completes a line
        return path
    if not (path / "sweep.yaml").is_file():
        if not (os.path.lexists(path / "config.yaml") or (path / "trials").is_dir()):
            what = "holds neither a trial nor a sweep" if path.is_dir() else "no such folder"
            remedy = "name a trial's folder, results/<sweep>/trials/<n>, or a sweep's, results/<sweep>"
            raise UserError(what, where=str(path), remedy=remedy)
        return path
    from hwcls.cli.console import print_to_stderr
    from hwcls.results.load import load_results
    from hwcls.results.representatives import choose_weights

    folder, reason = choose_weights(load_results(path))
    print_to_stderr(f"{folder}: {reason}")
    return folder


SweepFile = Annotated[Path, typer.Argument(help="The sweep file (YAML).", show_default=False)]
Preset = Annotated[str | None, typer.Option(help="Apply one of the file's presets.", show_default=False)]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="Set any entry: a.b=value. Repeatable.", show_default=False)
]
New = Annotated[bool, typer.Option("--new", help="Start in a new folder instead of resuming.")]
Wandb = Annotated[str, typer.Option(help="online, offline, off, or auto: online where you are logged in.")]
Cluster = Annotated[
    str | None,
    typer.Option("--address", help="A running Ray cluster; by default this machine alone.", show_default=False),
]
Budget = Annotated[
    str | None, typer.Option("--for", help="A time budget instead of run_cap: 2h, 90m.", show_default=False)
]
ResultsFolder = Annotated[Path, typer.Argument(help="A sweep's results folder.", show_default=False)]
ResultsFolders = Annotated[
    list[Path], typer.Argument(metavar="FOLDERS", help="Results folders of sweeps.", show_default=False)
]
TrialFolder = Annotated[
    Path,
    typer.Argument(
        help="A trial's folder, results/SWEEP/trials/N; a sweep's stands for its confirmed winner, or else best trial.",
        show_default=False,
        callback=choose_trial,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Everything = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]
ResultOnly = Annotated[bool, typer.Option("--json", help="Print only the result, as JSON.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist, without asking.")]


def check_overwrite(paths: Iterable[Path], overwrite: bool) -> None:
    """Ask before the files at `paths` are replaced; raises UserError where nobody can be asked, or says no."""
    taken = [path for path in paths if path.is_file()]
    if overwrite or not taken:
        return
    where = ", ".join(map(str, taken))
    if not can_ask():
        raise UserError("exists already", where=where, remedy="pass --overwrite to replace it, or name another path")
    ask_to_replace(where)


def ask_to_replace(where: str) -> None:
    """Ask before what exists is replaced; raises UserError where the answer is no."""
    if not typer.confirm(f"Replace what exists: {where}?", err=True):
        raise UserError("kept, nothing was written", where=where)


def can_ask() -> bool:
    """Whether somebody sits at the terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _accept_code(wanted: bool) -> bool:
    if wanted:
        from hwcls.models.user import trust

        trust.accept_all()
    return wanted


TrustCode = Annotated[
    bool,
    typer.Option(
        "--trust-code",
        help="Run model code that no sweep on this machine has run; it is remembered, so once is enough.",
        callback=_accept_code,
    ),
]


def check_wandb(mode: str) -> None:
    """Raise UserError where `mode` is none of WANDB_MODES."""
    if mode not in WANDB_MODES:
        raise UserError(f"unknown mode '{mode}'", where="--wandb", remedy=did_you_mean(mode, WANDB_MODES))
