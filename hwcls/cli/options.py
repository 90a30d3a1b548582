"""Arguments and options that several commands share."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwcls.cli.choose_run import choose_recorded, choose_trial
from hwcls.cli.completion import folders, sweep_file
from hwcls.cli.completion.completer import words
from hwcls.errors import LayoutError, UserError, did_you_mean
from hwcls.escape import shell_word
from hwcls.files import check_writable

if TYPE_CHECKING:
    from hwcls.config.data import DataConfig

WANDB_MODES = ("online", "offline", "off", "auto")


def _refuse_photos(ctx: typer.Context, path: Path) -> Path:
    """Raise UserError where images of the user's own are named in place of a sweep file."""
    if ctx.resilient_parsing or (path / "sweep.yaml").is_file():
        return path
    from hwcls.data.formats.archive import is_archive
    from hwcls.data.formats.image_types import is_image

    if path.is_dir() or is_archive(path) or (path.is_file() and is_image(path.name)):
        of = path.parent if path.is_file() and is_image(path.name) else path
        raise UserError("is no sweep file", where=str(path), remedy=f"hwcls init {shell_word(of)} writes one")
    return path


SweepFile = Annotated[Path, typer.Argument(help="The sweep file (YAML).", show_default=False, callback=_refuse_photos)]
Preset = Annotated[
    str | None,
    typer.Option(help="Apply one of the file's presets.", show_default=False, autocompletion=sweep_file.presets),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Set any entry: a.b=value. Repeatable.",
        show_default=False,
        autocompletion=sweep_file.settings,
    ),
]
New = Annotated[bool, typer.Option("--new", help="Start in a new folder instead of resuming.")]
Wandb = Annotated[
    str,
    typer.Option(
        help="online, offline, off, or auto: online where you are logged in.", autocompletion=words(*WANDB_MODES)
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option("--address", help="A running Ray cluster; by default this machine alone.", show_default=False),
]
Budget = Annotated[
    str | None, typer.Option("--for", help="A time budget instead of run_cap: 2h, 90m.", show_default=False)
]
ResultsFolder = Annotated[
    Path, typer.Argument(help="A sweep's results folder.", show_default=False, autocompletion=folders.sweeps)
]
ResultsFolders = Annotated[
    list[Path],
    typer.Argument(
        metavar="FOLDERS",
        help="Results folders of sweeps.",
        show_default=False,
        autocompletion=folders.sweeps,
    ),
]
_TRIAL_HELP = "A sweep's results folder, for its confirmed winner or else best trial; or a trial's folder."
TrialFolder = Annotated[
    Path,
    typer.Argument(
        help=_TRIAL_HELP,
        show_default=False,
        callback=choose_trial,
        autocompletion=folders.sweeps_or_trials,
    ),
]
RecordedTrial = Annotated[
    Path,
    typer.Argument(
        help=_TRIAL_HELP,
        show_default=False,
        callback=choose_recorded,
        autocompletion=folders.sweeps_or_trials,
    ),
]
Views = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=64,
        show_default=False,
        help="Average over so many views of each image: the plain one, others changed as in the training.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Everything = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]
ResultOnly = Annotated[bool, typer.Option("--json", help="Print only the result, as JSON.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist, without asking.")]


def check_overwrite(paths: Iterable[Path], overwrite: bool) -> None:
    """Check that files can be written to `paths`, and ask before any is replaced, ahead of the work for them.

    Raises UserError where nobody can be asked, or says no, and OSError where one cannot be written.
    """
    wanted = list(paths)
    for path in wanted:
        check_writable(path)
    taken = [path for path in wanted if path.is_file()]
    if overwrite or not taken:
        return
    where = ", ".join(map(str, taken[:3])) + (f" and {len(taken) - 3:,} more" if taken[3:] else "")
    if not can_ask():
        raise UserError("exists already", where=where, remedy="pass --overwrite to replace it, or name another path")
    ask_to_replace(where)


def check_outside_data(folder: Path, data: DataConfig) -> None:
    """Raise UserError where pictures written into a folder would become images of the user's own data set."""
    from hwcls.data.formats.archive import is_walked

    if data.path is not None and is_walked(path := Path(data.path).expanduser(), folder):
        what = f"lies in the data's folder {path}: its pictures would be taken for images of a class"
        raise UserError(what, where=str(folder), remedy=f"name another, such as {path.resolve().parent / folder.name}")


def ask_to_replace(where: str) -> None:
    """Ask before what exists is replaced; raises UserError where the answer is no."""
    if not typer.confirm(f"Replace what exists: {where}?", err=True):
        raise UserError("kept, nothing was written", where=where)


def can_ask() -> bool:
    """Whether somebody sits at the terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _accept_code(ctx: typer.Context, wanted: bool) -> bool:
    if wanted and not ctx.resilient_parsing:  # the shell completes a line
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


@dataclass(frozen=True)
class DataOptions:
    """What the options of `takes_data_options` say of a user's own data.

    Attributes:
        layout: The entries of `data.layout`; empty: as found.
        test: The share of the images that becomes test where the data has no test split.
    """

    layout: dict[str, Any] = field(default_factory=dict)
    test: float | None = None

    def entries(self) -> dict[str, Any]:
        """The entries of a sweep file's data section; what was not given is left out."""
        return {
            **({"layout": self.layout} if self.layout else {}),
            **({"test": self.test} if self.test is not None else {}),
        }


_LAYOUT_HELP = {
    "table": "A table of the images, in the data or elsewhere: CSV, TSV, JSON lines or Parquet.",
    "image_column": "Its column of file names.",
    "label_column": "Its column of classes.",
    "split_column": "Its column that says train, val or test.",
    "group": "Its column of what must stay in one split (patient, video), or a regular expression on file names.",
    "class_depth": "How many folders name a class: 1 is Greek, 2 is Greek/character01.",
    "train_folder": "The folder of the training images.",
    "val_folder": "The folder of the validation images.",
    "test_folder": "The folder of the test images.",
}
_TEST_HELP = "The share of the images that becomes test, where the data has no test split."


def takes_data_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options for a user's own data; it gets them as `own: DataOptions`.

    Errors about the data then name these options instead of the keys of a sweep file.
    """
    signature = inspect.signature(command, eval_str=True)

    @functools.wraps(command)
    def run(**given: Any) -> None:
        from hwcls.config.data import find_table

        layout = {name: value for name in _LAYOUT_HELP if (value := given.pop(name)) is not None}
        if table := layout.get("table"):
            layout["table"] = find_table(table, given.get("path") or given.get("name"), Path())
        own = DataOptions(layout, given.pop("test"))
        try:
            command(**given, own=own)
        except LayoutError as error:
            raise error.with_options() from None

    options = {name: Annotated[str | None, typer.Option(help=text)] for name, text in _LAYOUT_HELP.items()}
    options["class_depth"] = Annotated[int | None, typer.Option(help=_LAYOUT_HELP["class_depth"], min=1, max=9)]
    options["test"] = Annotated[float | None, typer.Option(help=_TEST_HELP, min=0, max=1)]
    own = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in options.items()
    ]
    kept = [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in signature.parameters.values() if one.name != "own"
    ]
    run.__signature__ = signature.replace(parameters=[*kept, *own])  # type: ignore[attr-defined]
    return run
