"""Functions that complete a word, in the form in which Typer calls them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import typer

Completer = Callable[[typer.Context, str], list[str]]


def silent(complete: Callable[[typer.Context, str], Iterable[str]]) -> Completer:
    """The words that `complete` gives, none where it fails: the shell would print an error into the line."""

    @functools.wraps(complete)
    def complete_or_nothing(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            return list(complete(ctx, incomplete))
        except Exception:
            return []

    return complete_or_nothing


def words(*known: str) -> Completer:
    """Completes one of some words."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        return list(known)

    return complete


def given_words(ctx: typer.Context, argument: str) -> list[str]:
    """What was typed for an argument that comes first; the parser leaves it apart where an option lacks its value."""
    value = ctx.params.get(argument) or ctx.args
    return list(map(str, value if isinstance(value, (list, tuple)) else [value]))
