"""Read the annotations of config classes: what a key of the parameter tree may hold, and pydantic's errors."""

from __future__ import annotations

import types
import typing
from typing import Any, get_args, get_origin

from pydantic_core import ErrorDetails

from hwcls.config.base import Frozen
from hwcls.errors import did_you_mean

USER = "user"  # the type of a model from the user's own file


def plain_types(annotation: Any) -> list[Any]:
    """The plain types in an annotation, with unions and Annotated resolved."""
    if get_origin(annotation) is typing.Annotated:
        return plain_types(get_args(annotation)[0])
    if get_origin(annotation) in (typing.Union, types.UnionType):
        return [plain for arg in get_args(annotation) for plain in plain_types(arg)]
    return [annotation]


def config_classes(annotation: Any) -> dict[str, type[Frozen]]:
    """The config classes that a key may hold, by the `name` that selects them; a single class has the name ''."""
    classes = [part for part in plain_types(annotation) if isinstance(part, type) and issubclass(part, Frozen)]
    if len(classes) < 2:
        return dict.fromkeys([""], classes[0]) if classes else {}
    return {_type_name(cls): cls for cls in classes}


def _type_name(cls: type[Frozen]) -> str:
    literal = get_args(cls.model_fields["name"].annotation)
    return str(literal[0]) if literal else USER


def takes_integers(annotation: Any) -> bool:
    """Whether a range at this key draws integers."""
    plain = plain_types(annotation)
    return int in plain and float not in plain


def takes_any_key(cls: type[Frozen]) -> bool:
    """Whether a config accepts unknown keys and passes them on (a user's own model does)."""
    return cls.model_config.get("extra") == "allow"


def describe_error(error: ErrorDetails, known: typing.Iterable[str] = ()) -> tuple[str, str]:
    """A pydantic error as (what is wrong, the remedy)."""
    name = str(error["loc"][-1]) if error["loc"] else ""
    kind, value = error["type"], error.get("input")
    if kind == "extra_forbidden":
        return f"unknown key '{name}'", did_you_mean(name, known)
    if kind == "missing":
        return f"'{name}' is missing", "add it"
    if kind == "value_error":
        what, _, remedy = str(error["ctx"]["error"]).partition(" — ")
        return what, remedy
    if kind == "literal_error":
        expected = [word.strip(" '") for word in error["ctx"]["expected"].replace(" or ", ", ").split(",")]
        return f"{_short(value)} is not a valid value here", did_you_mean(value, expected)
    message = error["msg"]
    return f"{_short(value)}: {message[0].lower()}{message[1:]}", ""


def _short(value: object) -> str:
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
