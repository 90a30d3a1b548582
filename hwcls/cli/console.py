"""The application: its commands, and what every one of them does with an error."""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Callable
from typing import Annotated, ParamSpec, TypeVar

import typer

from hwcls import __version__
from hwcls.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    name="hwcls",
    help="Find the best image classifier for a data set within a budget, and how sure that is.",
    no_args_is_help=True,
    rich_markup_mode=None,  # Rich would double the time that --help takes
    pretty_exceptions_enable=False,
)


def command(function: Callable[P, R]) -> Callable[P, R]:
    """A command's ends: 0 done, 1 something failed, 2 one line about a user's error, 130 interrupted."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except UserError as error:
            typer.echo(f"hwcls: {error}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            typer.echo("hwcls: interrupted", err=True)
            raise typer.Exit(130) from None
        except BrokenPipeError:  # `hwcls ... | head`
            sys.stderr.close()
            raise typer.Exit(0) from None
        except OSError as error:
            if error.filename is None:
                raise
            from hwcls.data.disk import is_full

            remedy = "free some space" if is_full(error) else "name another, or change what stands there"
            what = (error.strerror or type(error).__name__).lower()
            typer.echo(f"hwcls: {UserError(what, where=str(error.filename), remedy=remedy)}", err=True)
            raise typer.Exit(2) from None

    return run


def _version(show: bool) -> None:
    if show:
        typer.echo(f"hwcls {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Find the best image classifier for a data set within a budget, and how sure that is."""


def whole() -> typer.Typer:
    """The application with all its commands."""
    from hwcls.cli.commands import (  # noqa: F401  (each adds its commands)
        check_profile,
        compare_explain,
        data,
        doctor,
        evaluate_predict,
        models,
        submit,
        sweep_confirm,
        train,
        wandb,
    )

    return app


def main() -> None:
    """The entry point of the `hwcls` script."""
    try:
        whole()()
    finally:
        if "triton" not in sys.modules:  # which would complain
            gc.freeze()  # or what torch and Ray hold is collected before the process ends, for 2 s
