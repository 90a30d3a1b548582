"""The reference of `import hwcls`, from the signatures and docstrings of what it exports."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import hwcls
from docs.generate.markdown import code, docstring_of, first_sentence, table
from hwcls.api import objects
from hwcls.sweep.from_python import SweepOptions, sweep

WIDTH = 90  # of a signature on one line
INTRO = """\
What `import hwcls` gives. [hwcls from Python](../how-to/python.md) shows it at work."""


def render() -> str:
    """The page, as Markdown."""
    named = {name: getattr(hwcls, name) for name in hwcls.__all__} | {"sweep": sweep}
    parts = ["# Python", INTRO]
    for name in sorted(named, key=lambda name: (inspect.isclass(named[name]), name)):
        parts += _class(name, named[name]) if inspect.isclass(named[name]) else _function(name, named[name])
    return "\n\n".join([*parts, *_objects()])


def _function(name: str, function: Any) -> Iterator[str]:
    yield f"## hwcls.{name}"
    yield f"```text\nhwcls.{name}{_signature(function)}\n```"
    yield docstring_of(function)
    if function is sweep:
        yield docstring_of(SweepOptions)


def _class(name: str, cls: type) -> Iterator[str]:
    yield f"## hwcls.{name}"
    if bases := [base for base in cls.__bases__ if base.__module__.startswith("hwcls.")]:
        yield f"Extends {', '.join(code(base.__name__) for base in bases)}."
    yield docstring_of(cls)
    values, methods = [], []
    for word, member in vars(cls).items():
        if word.startswith("_"):
            continue
        if isinstance(member, property | cached_property):
            values.append([code(word), first_sentence(member.__doc__)])
        elif inspect.isfunction(member):
            methods.append((word, member))
    if values:
        yield table(["attribute", ""], values)
    for word, method in methods:
        yield f"### {name}.{word}"
        yield f"```text\n{word}{_signature(method)}\n```"
        yield docstring_of(method)


def _objects() -> Iterator[str]:
    yield "## Plain objects"
    yield "The frozen dataclasses in `Results.objects`."
    for name, cls in vars(objects).items():
        if inspect.isclass(cls) and cls.__module__ == objects.__name__ and not name.startswith("_"):
            yield f"### {name}"
            yield docstring_of(cls)
            yield table(["field", "type"], [[code(one), code(kind)] for one, kind in cls.__annotations__.items()])


def _signature(function: Any) -> str:
    """As written, without self, one parameter a line where it is long."""
    found = inspect.signature(function)
    parts, keyword = [], False
    for name, one in found.parameters.items():
        if one.kind is one.KEYWORD_ONLY and not keyword:
            parts.append("*")
            keyword = True
        if name != "self":
            default = "" if one.default is one.empty else f" = {one.default!r}"
            parts.append(f"{'**' if one.kind is one.VAR_KEYWORD else ''}{name}: {one.annotation}{default}")
    short = f"({', '.join(parts)}) -> {found.return_annotation}"
    long = "(" + "".join(f"\n    {part}," for part in parts) + f"\n) -> {found.return_annotation}"
    return short if len(short) < WIDTH else long
