"""What is wrong with a value of a config in plain words, and how to mend it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hwcls.config.annotations import config_classes, plain_types
from hwcls.config.base import Frozen
from hwcls.config.remedies.keys import unknown_key
from hwcls.errors import did_you_mean

_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list",
    dict: "a mapping",
}
_KINDS = {"int": int, "float": float, "bool": bool, "string": str, "list": list, "tuple": list, "dict": dict}
_NULL = ("none", "null", "nil", "~")
_BOOL = {"true": "true", "yes": "true", "on": "true", "false": "false", "no": "false", "off": "false"}


def first_error(error: ValidationError) -> ErrorDetails:
    """The error to show: the first, or where that is about a list in a union, the one about its element."""
    errors = error.errors(include_url=False)
    first = errors[0]
    if not isinstance(first["input"], list):
        return first
    same = [one for one in errors if one["loc"][: len(first["loc"]) - 1] == first["loc"][:-1]]
    return max(same, key=lambda one: len(one["loc"]))


def describe_error(
    error: ErrorDetails,
    known: Iterable[str] = (),
    root: type[Frozen] | None = None,
    *,
    section: str | None = None,
    searched: bool = False,
) -> tuple[str, str]:
    """A pydantic error as (what is wrong, the remedy).

    Args:
        error: The error.
        known: The keys that exist where it happened.
        root: The config class that was built, to know what else its keys take.
        section: Where it happened in a sweep file, as for `unknown_key`.
        searched: Whether its keys can be searched, by `values` in a sweep file.
    """
    name = str(error["loc"][-1]) if error["loc"] else ""
    kind, value = error["type"], error.get("input")
    if kind == "extra_forbidden":
        return f"unknown key '{name}'", unknown_key(name, known, section)
    if kind == "missing":
        return f"'{name}' is missing", "add it"
    if kind == "value_error":
        what, _, remedy = str(error["ctx"]["error"]).partition(" — ")
        return what, remedy
    if kind == "literal_error":
        optional = root is not None and type(None) in plain_types(_annotation(root, error["loc"]))
        return f"{show(value)} is not a valid value here", _literal_remedy(value, error["ctx"]["expected"], optional)
    wanted = [_KINDS[kind.removesuffix("_type")]] if kind.removesuffix("_type") in _KINDS else []
    if kind in ("model_type", "model_attributes_type", "dataclass_type", "union_tag_not_found"):
        wanted = [dict]
    if wanted:
        annotation = _annotation(root, error["loc"]) if root else None
        wanted = _taken_types(annotation) or wanted
        what, remedy = wrong_type(value, wanted)
        if searched and isinstance(value, list) and value and all(_fits(one, wanted) for one in value):
            remedy = f"write {{values: {show(value)}}} to search these"
        sections = [] if annotation is None else list(config_classes(annotation).values())
        if not remedy and sections and not isinstance(value, dict):
            remedy = f"write {{{', '.join(f'{field}: ...' for field in list(sections[0].model_fields)[:3])}}}"
        return what, remedy
    message = error["msg"]
    return f"{show(value)}: {message[0].lower()}{message[1:]}", ""


def wrong_type(value: object, wanted: Iterable[Any]) -> tuple[str, str]:
    """A value of none of the types in `wanted` as (what is wrong, the remedy).

    A type is int, float, bool, str, list, dict or NoneType; entries of a mapping are a dict.
    """
    types_ = list(dict.fromkeys(wanted))
    words = [_WORDS[one] for one in types_ if one in _WORDS]
    return f"{show(value)} is not {' or '.join(words)}", _type_remedy(value, types_)


def _type_remedy(value: object, wanted: list[Any]) -> str:
    """How to write a value that was meant as one of the types, "" where it is unknown."""
    optional = type(None) in wanted
    if value is None:
        return "leave the key out for its default"
    if isinstance(value, str):
        text = value.strip(" '\"")
        if text.casefold() in _NULL:
            return "write null, without quotes" if optional else "leave the key out for its default"
        if bool in wanted and text.casefold() in _BOOL:
            return f"write {_BOOL[text.casefold()]}, without quotes"
        if (number := _number(text)) is not None and {int, float} & set(wanted):
            whole = float not in wanted
            if not whole and _is_number(text):
                return f"write {text}, without quotes"
            return f"write {_plain_number(number)}, without quotes" if not whole or number == int(number) else ""
        if text.casefold().lstrip("+-.") in ("inf", "infinity", "nan"):
            return "write a finite number"
    elif isinstance(value, (list, dict)):
        if isinstance(value, dict) and "choice" in value:
            return "choice is for sections; write values: [...]"
        if isinstance(value, dict) and list in wanted:
            return f"write [{show(value)}]"
    elif str in wanted:
        return f"put it into quotes: '{show(value)}'"
    elif isinstance(value, bool):
        return ""
    elif bool in wanted and value in (0, 1):
        return f"write {'true' if value else 'false'}"
    elif int in wanted and isinstance(value, float):
        return f"write {int(value)}" if value.is_integer() else ""
    if list in wanted and not isinstance(value, (list, dict)):
        return f"write [{as_yaml(value)}]"
    return ""


def _literal_remedy(value: object, expected: str, optional: bool) -> str:
    """`expected` is pydantic's: "'a', 'b' or 3"."""
    if optional and isinstance(value, str) and value.strip().casefold() in _NULL:
        return "write null, without quotes"
    words = [word.strip() for word in expected.replace(" or ", ", ").split(",")]
    texts = [word.strip("'") for word in words]
    if isinstance(value, str) and value.strip() in texts and f"'{value}'" not in words:
        return f"write {value.strip()}, without quotes"
    if value is None:
        return f"leave the key out for its default; known: {', '.join(texts)}"
    return did_you_mean(value, texts)


def _annotation(root: type[Frozen], loc: tuple[int | str, ...]) -> Any:
    """The annotation of the field at a pydantic location, None where it is unknown."""
    annotation: Any = root
    for part in loc:
        members = config_classes(annotation)
        cls = next(iter(members.values())) if len(members) == 1 else None
        if isinstance(part, int):
            annotation = next((_element(one) for one in plain_types(annotation) if _element(one) is not None), None)
        elif cls is not None and part in cls.model_fields:
            annotation = cls.model_fields[part].annotation
        elif part in members:
            annotation = members[str(part)]
        elif members:  # a key of a class that the annotation does not name
            return None
    return annotation


def _taken_types(annotation: Any) -> list[Any]:
    """What a field takes; [] where it is unknown."""
    found = [_plain(one) for one in plain_types(annotation)]
    return found if all(one in _WORDS or one is type(None) for one in found) else []


def _element(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) in (tuple, list) else None


def _plain(annotation: Any) -> Any:
    if get_origin(annotation) in (tuple, list):
        return list
    if get_origin(annotation) is dict or (isinstance(annotation, type) and issubclass(annotation, Frozen)):
        return dict
    return annotation


def _fits(value: object, wanted: list[Any]) -> bool:
    if value is None or isinstance(value, bool):
        return type(value) in wanted
    if isinstance(value, int):
        return int in wanted or float in wanted
    return type(value) in wanted


def _number(text: str) -> float | None:
    """The finite number that a text means: "1e-3", "1,000", "0,1" or "10%"."""
    share, plain = text.endswith("%"), text.rstrip("% ")
    thousands = re.fullmatch(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?", plain)  # or else a decimal comma
    try:
        number = float(plain.replace(",", "" if thousands else "."))
    except ValueError:
        return None
    number = number / 100 if share else number
    return number if math.isfinite(number) else None


def _is_number(text: str) -> bool:
    return not set(text) - set("0123456789+-.eE")


def _plain_number(number: float) -> str:
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else f"{number:g}"


def show(value: object) -> str:
    """A value as a sweep file has it, shortened."""
    text = f"'{value}'" if isinstance(value, str) else as_yaml(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def as_yaml(value: object) -> str:
    """A value in YAML's flow style, texts without quotes."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {as_yaml(one)}' for key, one in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(as_yaml, value))}]"
    if isinstance(value, float):
        return f"{value!r}"
    return value if isinstance(value, str) else json.dumps(value, default=str)
