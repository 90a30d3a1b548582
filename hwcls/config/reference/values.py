"""The JSON schema of a single key's value: a constant, or what a search draws it from."""

from __future__ import annotations

from functools import cache
from typing import Any

from hwcls.config.base import Frozen
from hwcls.config.space_parser import DISTRIBUTIONS

Schema = dict[str, Any]
# the words of a range that are the same for every key, referred to as definitions
WORDS: dict[str, Schema] = {
    "log": {"description": "Draw the logarithm evenly.", "type": "boolean"},
    "step": {"description": "Distance between the values that are drawn.", "type": "number", "exclusiveMinimum": 0},
    "q": {"description": "As step, in W&B's word.", "type": "number", "exclusiveMinimum": 0},
    "distribution": {
        "description": "W&B's word; min, max and log, or values, say it too.",
        "enum": [*DISTRIBUTIONS, None],
    },
}
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


@cache
def _properties(cls: type[Frozen]) -> dict[str, Schema]:
    schema = cls.model_json_schema()
    return {name: _inline(part, schema.get("$defs", {})) for name, part in schema["properties"].items()}


def _inline(part: Any, definitions: Schema) -> Any:
    """A part of pydantic's schema with its references replaced by what they name."""
    if isinstance(part, list):
        return [_inline(one, definitions) for one in part]
    if not isinstance(part, dict):
        return part
    named = definitions[part["$ref"].rpartition("/")[2]] if isinstance(part.get("$ref"), str) else {}
    return {word: _inline(one, definitions) for word, one in {**named, **part}.items() if word != "$ref"}


def value_schema(cls: type[Frozen], name: str) -> Schema:
    """What pydantic accepts as a field of a config class, without its description, default and examples."""
    found = _properties(cls)[name]
    return {word: part for word, part in found.items() if word not in ("title", "description", "default", "examples")}


def parts(schema: Schema) -> list[Schema]:
    """The single types of a value, null left out."""
    found = [part for one in schema.get("anyOf", [schema]) for part in (parts(one) if "anyOf" in one else [one])]
    return [one for one in found if one.get("type") != "null"]


def options(schema: Schema) -> list[Any]:
    """The values that are named one by one."""
    return [value for one in parts(schema) for value in one.get("enum", [one["const"]] if "const" in one else [])]


def number_part(schema: Schema) -> Schema | None:
    """The type and the bounds of the number that a value can be; None where it cannot be one."""
    found = [one for one in parts(schema) if one.get("type") in ("integer", "number") and "enum" not in one]
    return {word: found[0][word] for word in ("type", *_BOUNDS) if word in found[0]} if found else None


def searched_value(value: Schema) -> Schema:
    """A value of `parameters`: a constant, or a mapping of what is searched."""
    words: Schema = {"values": {"type": "array", "minItems": 1, "uniqueItems": True, "items": value}, "value": value}
    words["distribution"] = {"$ref": "#/definitions/distribution"}
    forms = [["values"], ["value"]]
    number = number_part(value)
    if number is not None:
        words |= {"min": number, "max": number}
        words |= {name: {"$ref": f"#/definitions/{name}"} for name in ("log", "step", "q")}
        forms.append(["min", "max"])
    search = {
        "type": "object",
        "properties": words,
        "additionalProperties": False,
        "oneOf": [{"required": form} for form in forms],
    }
    return {"anyOf": [value, search]}
