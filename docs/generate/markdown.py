"""Pieces of Markdown."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable, Sequence

SECTIONS = ("Args", "Attributes", "Returns", "Raises")  # of a docstring


def code(text: object) -> str:
    """As code."""
    return f"`{text}`" if str(text) else ""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; lines and bars inside cells are made harmless."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def first_sentence(docstring: str | None) -> str:
    """The first paragraph of a docstring, on one line."""
    return one_line(inspect.cleandoc(docstring or "").partition("\n\n")[0])


def docstring_of(thing: object) -> str:
    """A docstring as Markdown, its sections (`Args:` and so on) as lists."""
    return "\n\n".join(map(_block, inspect.cleandoc(thing.__doc__ or "").split("\n\n")))


def one_line(text: str) -> str:
    """Text with every run of blanks and line ends as one blank."""
    return " ".join(text.split())


def _block(text: str) -> str:
    head, _, body = text.partition("\n")
    section = head.removesuffix(":")
    if section not in SECTIONS:
        return one_line(text)
    entries = re.split(r"\n(?=\S)", textwrap.dedent(body))
    if section == "Returns":
        return f"**Returns** {one_line(body)}"
    lines = [one_line(entry).partition(": ") for entry in entries]
    return "\n".join([f"**{section}**", "", *(f"- {code(name)}: {text}" for name, _, text in lines)])


def _cell(text: str) -> str:
    return one_line(text).replace("|", "\\|")
