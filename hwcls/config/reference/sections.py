"""The JSON schema of the sections of a sweep file: single ones, those of several types, and choices among them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hwcls.config.annotations import USER, takes_any_key
from hwcls.config.base import Frozen
from hwcls.config.reference.keys import section_classes
from hwcls.config.reference.values import WORDS, Schema, searched_value, value_schema
from hwcls.config.space_parser import LABEL

Classes = Mapping[str, type[Frozen]]
NULL: Schema = {"type": "null"}
USERS_NAME: Schema = {"type": "string", "pattern": ":"}  # my_file.py:build


def any_of(*schemas: Schema) -> Schema:
    """What one of the schemas accepts, each named once."""
    found: list[Schema] = []
    for schema in schemas:
        found += [schema] if schema not in found else []
    return found[0] if len(found) == 1 else {"anyOf": found}


class Sections:
    """Builds the schemas of sections, and collects those that several places share in `definitions`."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = dict(WORDS)

    def entry(self, cls: type[Frozen], name: str, searched: bool) -> Schema:
        """A key of a config class: a value or a section, with what editors show of it."""
        field = cls.model_fields[name]
        classes = section_classes(field)
        if not classes:
            value = value_schema(cls, name)
            schema = searched_value(value) if searched else value
        else:
            schema = self.section(classes) if searched else self.plain(next(iter(classes.values())))
            schema = any_of(NULL, schema) if not field.is_required() and field.default is None else schema
        about = {"description": field.description, "examples": field.examples}
        if not field.is_required() and not classes:
            about["default"] = field.get_default(call_default_factory=True)
        return {**{word: one for word, one in about.items() if one is not None}, **schema}

    def plain(self, cls: type[Frozen]) -> Schema:
        """A section whose keys are not searched."""
        return self._complete(cls, searched=False)

    def section(self, classes: Classes) -> Schema:
        """A section of `parameters`: of one class, or of the one that its `name` selects, or a choice."""
        name = f"{self._title(classes)}Section"
        if name not in self.definitions:
            single = self._complete(classes[""]) if "" in classes else self._named(classes)
            form = {"if": {"required": ["choice"]}, "then": self._choice(classes), "else": single}
            schemas = [{"type": "object", **form}]
            if any("name" in cls.model_fields for cls in classes.values()):
                schemas.append(self._name(classes))  # `optimizer: adam`
            self.definitions[name] = any_of(*schemas)
        return {"$ref": f"#/definitions/{name}"}

    def by_type(self, classes: Classes, word: str, default: str | None = None) -> Schema:
        """A mapping whose keys are those of the class that `word` selects; without it, of `default`."""
        rules = []
        for kind, cls in classes.items():
            chosen = USERS_NAME if kind == USER else {"const": kind}
            named = {"required": [word], "properties": {word: chosen}}
            rules.append({"if": named, "then": self._body(cls, searched=word == "name")})
        if default is not None:
            body = self._body(classes[default], searched=word == "name")
            rules.append({"if": {"not": {"required": [word]}}, "then": body})
        return {"type": "object", "allOf": rules}

    def _title(self, classes: Classes) -> str:
        """The name of the nearest class that all of them extend."""
        shared = set.intersection(*(set(cls.__mro__) for cls in classes.values()))
        return next(cls.__name__ for cls in next(iter(classes.values())).__mro__ if cls in shared)

    def _body(self, cls: type[Frozen], searched: bool = True) -> Schema:
        """The keys of one class, none of them required: siblings of a choice may hold them."""
        if cls.__name__ not in self.definitions:
            entries = {name: self.entry(cls, name, searched) for name in cls.model_fields if name != "label"}
            self.definitions[cls.__name__] = {
                "description": (cls.__doc__ or "").partition("\n\n")[0],
                "type": "object",
                "properties": entries,
                "additionalProperties": takes_any_key(cls),
            }
        return {"$ref": f"#/definitions/{cls.__name__}"}

    def _complete(self, cls: type[Frozen], searched: bool = True) -> Schema:
        """A section of one class that nothing else adds keys to, with the constraints between its keys."""
        body, constraints = self._body(cls, searched), cls.model_config.get("json_schema_extra")
        return {"allOf": [body, constraints]} if constraints else body

    def _name(self, classes: Classes) -> Schema:
        """What selects one of several classes; of a single one, its name may be anything."""
        if "" in classes:
            return {"type": "string"}
        names: Schema = {"enum": [kind for kind in classes if kind != USER]}
        return any_of(names, USERS_NAME) if USER in classes else names

    def _named(self, classes: Classes) -> Schema:
        """A section of several types without a choice: its `name` is one of them, or searches them."""
        options = {"type": "array", "minItems": 1, "items": self._name(classes)}
        several = {"type": "object", "required": ["values"], "properties": {"values": options}}
        needed = [
            {
                "if": {"properties": {"name": {"const": kind}}, "required": ["name"]},
                "then": {"required": sorted(required)},
            }
            for kind, cls in classes.items()
            if (required := {name for name, field in cls.model_fields.items() if field.is_required()} - {"name"})
        ]
        searches = {"required": ["name"], "properties": {"name": {"type": "object"}}}
        shared = {"properties": {**self._shared(classes), "name": several}, "additionalProperties": False}
        return {
            "required": ["name"],
            "properties": {"name": any_of(self._name(classes), several)},
            "allOf": [self.by_type(classes, "name"), *needed, {"if": searches, "then": shared}],
        }

    def _shared(self, classes: Classes) -> dict[str, Schema]:
        """The keys of any of the classes, which may stand beside a choice."""
        found: dict[str, dict[str, Schema]] = {}
        for cls in classes.values():
            self._body(cls)  # has the entries
            for name, entry in self.definitions[cls.__name__].get("properties", {}).items():
                if name != "name":
                    place = {"$ref": f"#/definitions/{cls.__name__}/properties/{name}"}
                    found.setdefault(name, {}).setdefault(json.dumps(entry), place)
        return {name: any_of(*alike.values()) for name, alike in found.items()}

    def _choice(self, classes: Classes) -> Schema:
        """`choice: {label: body}` with the keys that all alternatives share beside it."""
        entries: dict[str, Any] = {**self._shared(classes), "name": self._name(classes)}
        labels = {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": f"^{LABEL.pattern}$", "maxLength": 64},
        }
        if "" in classes:
            labels["additionalProperties"] = any_of(NULL, self._body(classes[""]))
            return {"properties": {**entries, "choice": labels}, "additionalProperties": False}
        known = {kind: any_of(NULL, self.by_type(classes, "name", kind)) for kind in classes if kind != USER}
        named = {"properties": {"name": self._name(classes)}}
        other = any_of(NULL, {**self.by_type(classes, "name"), **named})
        labels |= {"properties": known, "additionalProperties": other}
        unnamed = {
            "properties": dict.fromkeys(known, True),
            "additionalProperties": {"type": "object", "required": ["name"]},
        }
        rules: list[Schema] = [
            {"if": {"not": {"required": ["name"]}}, "then": {"properties": {"choice": unnamed}}},
        ]
        strict: Schema = {"properties": {**entries, "choice": labels}, "additionalProperties": False}
        if USER in classes:  # keys beside alternatives of the user's own are arguments of their functions
            all_own = {"additionalProperties": {"required": ["name"], "properties": {"name": USERS_NAME}}}
            loose = {"properties": {"choice": labels}}
            rules.append({"if": {"properties": {"choice": all_own}}, "then": loose, "else": strict})
            return {"allOf": rules}
        return {**strict, "allOf": rules}
