"""Read the annotations of config classes: what a key of the parameter tree may hold."""

from __future__ import annotations

import types
import typing
from typing import Any, get_args, get_origin

from hwcls.config.base import Frozen

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


def takes_numbers(annotation: Any) -> bool:
    """Whether a key may hold a number that a range draws."""
    return bool({int, float} & set(plain_types(annotation)))


def takes_integers(annotation: Any) -> bool:
    """Whether a range at this key draws integers."""
    plain = plain_types(annotation)
    return int in plain and float not in plain


def takes_any_key(cls: type[Frozen]) -> bool:
    """Whether a config accepts unknown keys and passes them on (a user's own model does)."""
    return cls.model_config.get("extra") == "allow"
