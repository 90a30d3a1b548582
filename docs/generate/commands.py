"""The reference of the commands, from Typer's tree: what `--help` prints of each."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup

from docs.generate.markdown import code, one_line, table
from hwcls.cli.main import app

INTRO = """\
What `--help` prints of each command. `--json` prints a result for programs. Commands ask before they replace a file,
unless `--overwrite` answers yes.

Exit codes: 0 done; 1 it ran and something failed, which the output names; 2 bad usage, file or data, in one line with
the remedy; 130 interrupted and saved."""


def render() -> str:
    """The page, as Markdown."""
    commands = list(walk(typer.main.get_command(app), "hwcls"))
    return "\n\n".join(["# Commands", INTRO, *(part for name, command in commands for part in _render(name, command))])


def walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command below a group that is not hidden, with its full name, by name."""
    if not isinstance(command, TyperGroup):
        yield name, command
        return
    for word, inner in sorted(command.commands.items()):
        if not inner.hidden:
            yield from walk(inner, f"{name} {word}")


def _render(name: str, command: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=name)
    yield f"## {name}"
    yield f"```text\n{' '.join([name, *command.collect_usage_pieces(context)])}\n```"
    yield from (_paragraph(one_line(text)) for text in inspect.cleandoc(command.help or "").split("\n\n"))
    records = [(one, one.get_help_record(context)) for one in command.params if not getattr(one, "hidden", False)]
    rows = [[code(one_line(record[0])), record[1]] for _, record in records if record]
    if rows:
        yield table(["argument or option", ""], rows)


def _paragraph(text: str) -> str:
    """A paragraph of the help, with the commands of an example as code."""
    what, word, examples = text.partition("Example: ")
    return what + word + ", ".join(code(part) if part.startswith("hwcls ") else part for part in examples.split(", "))
