"""What `hwcls explain-key` says of a key of a sweep file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, get_args, get_origin

from pydantic_core import PydanticUndefined

from hwcls.config.base import Frozen, Unit
from hwcls.config.reference.find_key import find_keys
from hwcls.config.reference.keys import DRAWN, Key, sweep_keys
from hwcls.config.reference.values import Schema, number_part, options, parts, value_schema
from hwcls.config.remedies.values import as_yaml

_TYPES = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "string": "text",
    "object": "mapping",
}
FILLED_IN = (("name",), (DRAWN, "data", "name"))  # required keys that are filled in where a file has none
_SELECTORS = ("name", "type")  # of one of several types of a section


@dataclass(frozen=True)
class Explanation:
    """The facts of a key, for all types of its section that have it alike."""

    key: str  # "parameters.optimizer.lr"
    owners: tuple[str, ...]  # these types; empty where every type has it so
    description: str
    type: str
    range: str | None
    unit: str | None
    default: str | None  # as YAML; None where the key is required, empty where the description says it
    search: str | None  # how it is searched; None where it cannot be
    example: str  # a line of YAML
    keys: dict[str, list[str]] = field(default_factory=dict)  # of a section: its keys by type

    def lines(self) -> Iterator[str]:
        """As text, without the key and its owners."""
        yield self.description
        facts = {
            "type": self.type,
            "range": self.range,
            "unit": self.unit,
            "default": "required" if self.default is None else self.default or None,
        }
        facts |= {"search": self.search or "no, it is the same for all trials", "example": self.example}
        for word, fact in facts.items():
            if fact is not None:
                yield f"  {word:<8} {fact}"
        for kind, names in self.keys.items():
            yield f"  {'keys' if not kind else f'keys of {kind}'}: {', '.join(names) or 'none'}"


def explain_key(name: str) -> list[Explanation]:
    """The facts of a key, once for each way in which types of its section have it.

    Args:
        name: Dotted, with or without `parameters.` and a type: optimizer.lr, optimizer.sgd.momentum. The last part is
            enough where no other key has it.

    Raises:
        UserError: There is no such key, or several; the remedy names the nearest.
    """
    alike: list[tuple[Explanation, list[str]]] = []
    for key in find_keys(name):
        facts = _explain(key)
        same = next((owners for other, owners in alike if other == facts), None)
        if same is None:
            alike.append((facts, [key.owner]))
        else:
            same.append(key.owner)
    everyone: dict[str, set[str]] = {}  # the types of each section
    for key in sweep_keys():
        everyone.setdefault(key.section, set()).add(key.owner)
    return [
        replace(facts, owners=() if set(owners) == everyone[facts.key.rpartition(".")[0]] else tuple(owners))
        for facts, owners in alike
    ]


def _explain(key: Key) -> Explanation:
    """The facts of a key as one type has it, its owners left out."""
    if _selects(key):
        return _explain_selector(key)
    classes, searchable = key.classes, key.path[0] == DRAWN and len(key.path) > 1
    kinds = [kind for kind in classes if kind]
    schema: Schema = {} if classes else value_schema(key.cls, key.name)
    number = number_part(schema) if schema else None
    if classes:
        named = any(word in cls.model_fields for word in _SELECTORS for cls in classes.values())
        words = f"{', '.join(kinds) or 'name'}, or mapping" if named else "mapping"
        search = "choice: {label: {...}, other: {...}}"
    else:
        words = _describe_type(schema)
        search = "{values: [...]}" if number is None else "{min: ..., max: ...} with log or step, or {values: [...]}"
    return Explanation(
        key=".".join(key.path),
        owners=(),
        description=key.field.description or "",
        type=words,
        range=_describe_range(number) if number else None,
        unit=_find_unit((key.field.annotation, *key.field.metadata)),
        default=_default(key),
        search=search if searchable else None,
        example=f"{key.name}: {as_yaml(example_of(key))}",
        keys={kind: _own_keys(cls, bool(kind)) for kind, cls in classes.items()},
    )


def _default(key: Key) -> str | None:
    if key.path in FILLED_IN:
        return ""
    return None if key.default is PydanticUndefined else _as_text(key.default)


def _selects(key: Key) -> bool:
    """Whether it selects a type of hwcls among those of its section."""
    return bool(key.owner) and key.name in _SELECTORS and key.field.default is not PydanticUndefined


def _explain_selector(key: Key) -> Explanation:
    """The facts of a `name` or `type`, the same for all types of the section."""
    kinds = next(list(one.classes) for one in sweep_keys() if one.path == key.path[:-1])
    is_model = key.name == "name"
    return Explanation(
        key=".".join(key.path),
        owners=(),
        description="The type of the section" + ("; in a choice by default the label." if is_model else "."),
        type=", ".join(kinds),
        range=None,
        unit=None,
        default=None if is_model else key.field.default,
        search="{values: [...]}, or choice around the section" if is_model else None,
        example=f"{key.name}: {kinds[-1 if key.section != 'parameters.model' else 0]}",
    )


def _own_keys(cls: type[Frozen], selected: bool) -> list[str]:
    """The keys of a class; what selects it among several is left out."""
    return [name for name in cls.model_fields if name != "label" and not (selected and name in _SELECTORS)]


def example_of(key: Key) -> Any:
    """A value to show: the field's own example, or what follows from its type and default."""
    if key.field.examples:
        return key.field.examples[0]
    if key.classes:
        inner = [one for one in sweep_keys() if one.path[:-1] == key.path and one.name not in _SELECTORS]
        kind = next(iter(key.classes))
        first = next((one for one in inner if not one.classes and one.owner in (kind, key.owner)), None)
        named = {_SELECTORS[key.path == ("early_terminate",)]: kind} if kind else {}
        return {**named, **({first.name: example_of(first)} if first else {})}
    schema = value_schema(key.cls, key.name)
    listed = options(schema)
    if listed:
        return next((value for value in reversed(listed) if value != key.default), listed[0])
    return not key.default if isinstance(key.default, bool) else key.default


def _describe_type(schema: Schema) -> str:
    """The type of a value in words."""
    listed = options(schema)
    plain = [_type_word(part) for part in parts(schema) if not {"enum", "const"} & part.keys()]
    words = [*dict.fromkeys(plain), *([", ".join(map(as_yaml, listed))] if listed else [])]
    return " or ".join(words)


def _type_word(part: Schema) -> str:
    if part.get("type") != "array":
        return _TYPES.get(str(part.get("type")), "any value")
    items = parts(part.get("items", {}))
    named = [as_yaml(value) for one in items for value in options(one)]
    return f"list of {', '.join(named) or ' or '.join(dict.fromkeys(map(_type_word, items)))}"


def _describe_range(number: Schema) -> str | None:
    """The bounds of a number in words; None where it has none."""
    low = f"{number['minimum']:,} or more" if "minimum" in number else ""
    low = f"more than {number['exclusiveMinimum']:,}" if "exclusiveMinimum" in number else low
    high = f"{number['maximum']:,} or less" if "maximum" in number else ""
    high = f"less than {number['exclusiveMaximum']:,}" if "exclusiveMaximum" in number else high
    if "minimum" in number and "maximum" in number:
        return f"{number['minimum']:,} to {number['maximum']:,}"
    return " and ".join(part for part in (low, high) if part) or None


def _find_unit(annotations: Sequence[Any]) -> str | None:
    """The unit in annotations, or in what they are made of."""
    for one in annotations:
        if isinstance(one, Unit):
            return one.name
        inner = get_args(one) if get_origin(one) is not Annotated else (one.__origin__, *one.__metadata__)
        if found := _find_unit(inner):
            return found
    return None


def _as_text(value: Any) -> str:
    """A default as YAML; of a section without those of its keys."""
    if value is None:
        return "null"
    name = getattr(value, "name", None)
    if hasattr(value, "model_dump"):
        return str(name) if name else "see its keys"
    return as_yaml(list(value) if isinstance(value, tuple) else value)
