"""Read a YAML file as plain values, with the line of every entry."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hwcls.errors import UserError, did_you_mean

Key = tuple[str, ...]
MAX_NODES = 100_000  # limit against nested aliases that expand without end


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-4 as a number, as YAML 1.2 does."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


@dataclass
class YamlSource:
    """A file's values and the place of each: a line, or the option that set it."""

    path: str
    values: Any
    places: dict[Key, int | str] = field(default_factory=dict)

    def where(self, key: Iterable[str] = ()) -> str:
        """`file:line: a.b.c`, with the line of the nearest entry that has one."""
        path = tuple(str(part) for part in key)
        if path and path not in self.places:  # `--set a.b=1` is also the place of a
            path = next((known for known in self.places if known[: len(path)] == path), path)
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                place = self.places[path[:length]]
                spot = f"{self.path}:{place}" if isinstance(place, int) else f"{self.path} ({place})"
                break
        else:
            spot = self.path
        return f"{spot}: {'.'.join(path)}" if path else spot

    def changes(self) -> dict[str, dict[str, Any]]:
        """The values that presets and options set, by origin: {"preset quick": {"run_cap": 6}}."""
        found: dict[str, dict[str, Any]] = {}
        for key, place in self.places.items():
            if isinstance(place, str):
                values = found.setdefault(place if place.startswith("preset ") else "options", {})
                values[".".join(key)] = self._at(key)
        return found

    def _at(self, key: Key) -> Any:
        value = self.values
        for name in key:
            value = value[int(name)] if isinstance(value, list) else value.get(name)
        return value

    def set(self, dotted: str, value: Any, place: str) -> None:
        """Set every entry that `dotted` names (`*` stands for each key of a mapping); raises UserError."""
        self._set(self.values, (), tuple(dotted.split(".")), value, place)

    def _set(self, parent: Any, key: Key, rest: Key, value: Any, place: str) -> None:
        name, rest = rest[0], rest[1:]
        here = f"{self.path} ({place}): {'.'.join((*key, name))}"
        if isinstance(parent, list) and name.isdecimal() and int(name) < len(parent):
            if rest:
                self._set(parent[int(name)], (*key, name), rest, value, place)
            else:
                parent[int(name)] = value
                self._mark((*key, name), place)
            return
        if not isinstance(parent, dict):
            raise UserError(f"'{'.'.join(key)}' holds no entries, so '{name}' cannot be set in it", where=here)
        if name == "*":
            if not parent:
                raise UserError("'*' matches nothing here", where=here)
            for child in parent:
                self._set(parent, key, (child, *rest), value, place)
        elif rest:
            if name not in parent and key and "parameters" not in key:
                raise UserError(f"there is no '{name}'", where=here, remedy=did_you_mean(name, parent))
            if parent.get(name) is None:
                parent[name] = {}
            self._set(parent[name], (*key, name), rest, value, place)
        else:
            parent[name] = value
            self._mark((*key, name), place)

    def _mark(self, key: Key, place: str) -> None:
        for old in [old for old in self.places if old[: len(key)] == key]:
            del self.places[old]
        self.places[key] = place


def read_source(path: Path) -> YamlSource:
    """Read a YAML file; raises UserError where it is missing, unreadable or not a YAML mapping."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise UserError("no such file", where=str(path)) from None
    except IsADirectoryError:
        raise UserError("is a folder, not a file", where=str(path)) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"cannot be read: {reason}", where=str(path)) from None
    source = YamlSource(str(path), None)
    source.values = _parse(text, source)
    if not isinstance(source.values, dict):
        raise UserError("holds no 'key: value' entries", where=str(path))
    return source


def parse_value(text: str, what: str) -> Any:
    """The value of a `--set` option, read as YAML; raises UserError."""
    return _parse(text, YamlSource(what, None))


def _parse(text: str, source: YamlSource) -> Any:
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            return None if node is None else _Builder(loader, source).build(node, ())
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source.path}:{mark.line + 1}" if mark else source.path
        problem = getattr(error, "problem", None) or str(error)
        raise UserError(f"is not valid YAML: {problem}", where=where) from None
    except RecursionError:
        raise UserError("is nested too deeply", where=source.path) from None
    except (ValueError, OverflowError) as error:  # e.g. a date like 2026-99-99
        raise UserError(f"is not valid YAML: {error}", where=source.path) from None


class _Builder:
    """Turns YAML nodes into values and records the line of every entry."""

    def __init__(self, loader: _Loader, source: YamlSource) -> None:
        self.loader, self.source, self.count = loader, source, 0

    def build(self, node: yaml.Node, key: Key) -> Any:
        self.count += 1
        if self.count > MAX_NODES:
            raise UserError("is too large for a sweep file", where=self.source.path)
        line = node.start_mark.line + 1
        self.source.places.setdefault(key, line)
        if isinstance(node, yaml.MappingNode):
            self.loader.flatten_mapping(node)
            return self._mapping(node, key)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, (*key, str(i))) for i, child in enumerate(node.value)]
        value = self.loader.construct_object(node)
        if not isinstance(value, (str, int, float, bool, type(None))):
            raise UserError(f"'{node.value}' is not a string, a number or a boolean", where=self.source.where(key))
        return value

    def _mapping(self, node: yaml.MappingNode, key: Key) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name_node, child in node.value:
            if not isinstance(name_node, yaml.ScalarNode):
                raise UserError(
                    "a key must be a plain scalar", where=f"{self.source.path}:{name_node.start_mark.line + 1}"
                )
            name = str(name_node.value)
            self.source.places[(*key, name)] = name_node.start_mark.line + 1
            if name in values:
                raise UserError(f"'{name}' appears twice here", where=self.source.where((*key, name)))
            values[name] = self.build(child, (*key, name))
        return values
