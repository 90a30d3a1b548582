"""The Typer application that commands add themselves to, its exit codes, and what they print with."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from typer.core import TyperGroup

from hwcls.api.user_errors import as_user_errors
from hwcls.cli.interrupt import command_begins, leave_at_once
from hwcls.errors import UserError
from hwcls.escape import printable
from hwcls.reading import forget_reports
from hwcls.report.terminal.console import terminal_console

if TYPE_CHECKING:
    from rich.console import Console

USAGE_ERROR: Any = typer.BadParameter.__base__  # Typer exports no other name of it
NAMED = "hwcls.command"  # in the meta of Typer's context: the path of the command that the line names
SUMMARY = "Find the best image classifier for a data set within a budget, and how certain the answer is."
SECTIONS = {  # of --help
    "Before a sweep": ("init", "doctor", "check", "profile", "models", "data", "schema", "explain-key"),
    "Sweep": ("sweep", "confirm", "trials", "submit", "slurm"),
    "Results": ("runs", "compare", "explain", "report", "serve", "dashboard", "figures", "tables"),
    "Trained models": ("evaluate", "predict", "inspect", "ensemble", "export", "train"),
    "Trackers": ("wandb", "mlflow"),
}


class ErrorHandlingGroup(TyperGroup):
    """Turns errors into one line on stderr and an exit code, and lists the commands in sections.

    0: done; 1: something failed; 2: bad usage, file or data; 130: interrupted.
    """

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands with their first sentences."""
        width = max(map(len, self.commands))
        for title, names in SECTIONS.items():
            with formatter.section(title):
                rows = [(name.ljust(width), self.commands[name].get_short_help_str(80)) for name in names]
                formatter.write_dl(rows)

    def make_context(self, *args: Any, **more: Any) -> Any:
        """The context of the options before a command's name."""
        try:
            return super().make_context(*args, **more)
        except USAGE_ERROR as error:
            _exit_usage(error, None)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that `args` begin with; `ctx` keeps its path, for errors that do not know their command."""
        name, command, rest = found = super().resolve_command(ctx, args)
        path = [ctx.command_path, name]
        while rest and (command := getattr(command, "commands", {}).get(rest[0])):
            path.append(rest[0])
            rest = rest[1:]
        ctx.meta[NAMED] = " ".join(map(str, path))
        return found

    def invoke(self, ctx: Any) -> Any:
        """Run the command that `ctx` names."""
        forget_reports()
        try:
            command_begins()
            with as_user_errors():
                return super().invoke(ctx)
        except UserError as error:
            _exit(str(error), 2)
        except USAGE_ERROR as error:
            _exit_usage(error, ctx)
        except KeyboardInterrupt:
            leave_at_once()
            _exit("interrupted", 130)
        except BrokenPipeError:  # `hwcls ... | head`
            sys.stderr.close()
            raise typer.Exit(0) from None


def _exit_usage(error: Any, ctx: Any) -> NoReturn:
    """Print a usage error of Typer's in one line, as hwcls's own; the help of a group without a command stays whole."""
    named = ctx.meta.get(NAMED) if ctx else None
    ctx, text = getattr(error, "ctx", None) or ctx, error.format_message()
    if "\n" in text:
        raise error
    if unreadable := re.search(r"(['\"])(.*)\1 is not readable", error.message):  # a file's error, not the usage's
        _exit(str(UserError("permission denied", where=unreadable[2], remedy="make it readable")), 2)
    if extra := re.search(r"unexpected extra argument\S* \((.*)\)", text):
        _exit(_too_many(ctx, extra[1]), 2)
    found = re.fullmatch(r"Invalid value for '(?P<where>.*?)': (Value error, )?(?P<what>.*)", text)
    where, what = (found["where"].partition("'")[0], found["what"]) if found else ("", text)  # '--top' / '-k'
    remedy = f"see {named or (ctx.command_path if ctx else 'hwcls')} --help"
    _exit(str(UserError(what[:1].lower() + what[1:].rstrip("."), where=where, remedy=remedy)), 2)


def _too_many(ctx: Any, extra: str) -> str:
    """The error of arguments that a command does not take."""
    taken = [str(one.name) for one in ctx.command.params if one.param_type_name == "argument"]
    what = f"takes {'one ' if len(taken) == 1 else ''}{' and '.join(taken) or 'no arguments'}, not also {extra}"
    remedy = f"run it for each {taken[0]}" if len(taken) == 1 else "leave it out"
    return str(UserError(what, where=str(ctx.command_path), remedy=remedy))


def _exit(message: str, code: int) -> NoReturn:
    echo(f"hwcls: {message}", err=True)
    raise typer.Exit(code) from None


app = typer.Typer(
    name="hwcls",
    help=SUMMARY,
    cls=ErrorHandlingGroup,
    no_args_is_help=True,
    rich_markup_mode=None,  # Rich would double the time that --help takes
    pretty_exceptions_enable=False,
)


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print text; what would move the cursor or hide text is escaped, whatever it came from."""
    typer.echo(printable(text, "\n\t"), err=err, nl=nl)


def print_to_stderr(text: str) -> None:
    """Print a line of progress or a note, apart from the result on stdout."""
    echo(text, err=True)


def terminal_width() -> int | None:
    """The columns of the terminal on stdout; None where stdout is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def echo_wrapped(text: str, indent: int) -> None:
    """Print a line, on a terminal broken between words, with further lines indented."""
    width = terminal_width()
    lines = (
        [text]
        if width is None
        else textwrap.wrap(
            text, max(width, 2 * indent), subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
        )
    )
    echo("\n".join(lines))


def table_console() -> Console:
    """The console on stdout: as wide as the terminal, 160 columns where stdout is none."""
    return terminal_console() if sys.stdout.isatty() else terminal_console(width=160)
