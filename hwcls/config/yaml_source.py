"""Read a YAML file as plain values, with the line of every entry."""

from __future__ import annotations

import copy
import math
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hwcls import files
from hwcls.config.remedies.syntax import explain_syntax
from hwcls.errors import UserError, did_you_mean, nearest_path, unreadable

Key = tuple[str, ...]
MAX_BYTES = 2_000_000  # of a file
MAX_NODES = 100_000  # limit against nested aliases that expand without end
MAX_DEPTH = 40  # of entries in entries
MAX_INT = 2**63  # what Optuna and NumPy store
MAX_DIGITS = 400

_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_KINDS = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "null": "null"}
_QUOTED = "put it into quotes if it is a name"
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]*[1-9][0-9_]*")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # line breaks and tabs are text


class _Loader(yaml.SafeLoader):
    """SafeLoader with the numbers of YAML 1.2: 1e-4 is one; 1:30 and 2026-01-31 are text, and so is a lone `=`."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag in {f"{_TAG}bool", f"{_TAG}null", _MERGE}]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
files.add_numbers(_Loader)


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
                parent[int(name)] = copy.deepcopy(value)
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
            parent[name] = copy.deepcopy(value)  # each of `*` gets its own
            self._mark((*key, name), place)

    def _mark(self, key: Key, place: str) -> None:
        for old in [old for old in self.places if old[: len(key)] == key]:
            del self.places[old]
        self.places[key] = place


def read_source(path: Path) -> YamlSource:
    """Read a YAML file; raises UserError where it is missing, unreadable or not a YAML mapping."""
    text = _read_text(path)
    source = YamlSource(str(path), None)
    source.values = _parse(text, source)
    if not isinstance(source.values, dict):
        raise UserError("holds no 'key: value' entries", where=str(path))
    return source


def _read_text(path: Path) -> str:
    try:
        info = path.stat()
        if stat.S_ISDIR(info.st_mode):
            raise UserError("is a folder, not a file", where=str(path))
        if not stat.S_ISREG(info.st_mode):  # reading a pipe or a device may never end
            raise UserError("is a pipe, a device or a socket", where=str(path), remedy="name a regular file")
        if info.st_size > MAX_BYTES:
            raise UserError("is too large for a sweep file", where=str(path))
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError("no such file", where=str(path), remedy=nearest_path(path)) from None
    except OSError as error:
        raise unreadable(error, path) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = "cannot be read: it is not UTF-8 text"
        raise UserError(what, where=f"{path}:{line}", remedy="save it as UTF-8") from None


def parse_value(text: str, what: str) -> Any:
    """The value of a `--set` option, read as YAML; raises UserError."""
    try:
        return _parse(text, YamlSource(what, None))
    except UserError as error:
        raise UserError(error.what, where=what, remedy=error.remedy) from None  # without a line


def _parse(text: str, source: YamlSource) -> Any:
    if found := yaml.reader.Reader.NON_PRINTABLE.search(text):
        where = f"{source.path}:{text.count(chr(10), 0, found.start()) + 1}"
        raise UserError(f"the character U+{ord(found[0]):04X} is not allowed here", where=where, remedy="remove it")
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            return None if node is None else _Builder(loader, source).build(node, ())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line, what, remedy = explain_syntax(text, error)
        raise UserError(what, where=f"{source.path}:{line + 1}", remedy=remedy) from None
    except RecursionError:
        raise UserError("is nested too deeply", where=source.path) from None
    except OverflowError:  # of PyYAML, in an escape of a double-quoted text
        raise UserError("has an escape of no character, such as \\U99999999", where=source.path) from None


class _Builder:
    """Turns YAML nodes into values and records the line of every entry."""

    def __init__(self, loader: _Loader, source: YamlSource) -> None:
        self.loader, self.source = loader, source
        self.count = 0
        self.open: list[yaml.Node] = []  # the nodes that contain the current one

    def build(self, node: yaml.Node, key: Key) -> Any:
        self.source.places.setdefault(key, _line(node))
        if isinstance(node, yaml.ScalarNode):
            self._count(1)
            return self._scalar(node, key)
        kind = "map" if isinstance(node, yaml.MappingNode) else "seq"
        if node.tag != _TAG + kind:
            raise self._tag_error(node, key)
        with self._inside(node):
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, key)
            return [self.build(child, (*key, str(i))) for i, child in enumerate(node.value)]

    def fail(self, what: str, node: yaml.Node, key: Key, remedy: str = "") -> UserError:
        where = f"{self.source.path}:{_line(node)}"
        return UserError(what, where=f"{where}: {'.'.join(key)}" if key else where, remedy=remedy)

    def _count(self, nodes: int) -> None:
        self.count += nodes
        if self.count > MAX_NODES:
            raise UserError("is too large for a sweep file", where=self.source.path)

    @contextmanager
    def _inside(self, node: yaml.Node) -> Iterator[None]:
        """Guards against entries without end."""
        self._count(1 + len(node.value))
        if node in self.open:
            raise self.fail("this entry contains itself by an alias", node, (), "remove the alias")
        if len(self.open) >= MAX_DEPTH:
            raise self.fail("is nested too deeply", node, ())
        self.open.append(node)
        yield
        self.open.pop()

    def _mapping(self, node: yaml.MappingNode, key: Key) -> dict[str, Any]:
        values = {}
        for name, (name_node, child) in self._entries(node, key).items():
            self.source.places[(*key, name)] = _line(name_node)
            values[name] = self.build(child, (*key, name))
        return values

    def _entries(self, node: yaml.MappingNode, key: Key) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Name and value nodes: those that `<<` merges, of which the first counts, overridden by the mapping's own."""
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        seen = set()
        for name_node, child in node.value:
            if not isinstance(name_node, yaml.ScalarNode):
                raise self.fail("a key must be a plain scalar", name_node, key)
            name = str(name_node.value)
            is_merge = name_node.tag == _MERGE
            if name in seen:
                remedy = "write <<: [*a, *b]" if is_merge else "remove one"
                raise self.fail(f"'{name}' appears twice here", name_node, (*key, name), remedy)
            seen.add(name)
            if not is_merge and name_node.tag.removeprefix(_TAG) not in _KINDS:
                raise self._tag_error(name_node, (*key, name))
            self._check_text(name, name_node, key)
            if not is_merge:
                own[name] = (name_node, child)
                continue
            for part in self._merged(child, key):
                with self._inside(part):
                    merged = {**merged, **self._entries(part, key), **merged}
        return {**merged, **own}

    def _merged(self, node: yaml.Node, key: Key) -> list[yaml.MappingNode]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for part in parts:
            if not isinstance(part, yaml.MappingNode):
                raise self.fail("'<<' merges mappings alone", part, key, "write <<: *anchor, or <<: [*a, *b]")
        return list(parts)

    def _scalar(self, node: yaml.ScalarNode, key: Key) -> Any:
        kind = _KINDS.get(node.tag.removeprefix(_TAG))
        if kind is None:
            raise self._tag_error(node, key)
        text = node.value if len(node.value) <= 40 else f"{node.value[:37]}..."
        if kind in ("a whole number", "a number") and len(node.value) > MAX_DIGITS:
            raise self.fail(f"{text} is too long for a number", node, key, _QUOTED)
        if kind == "a whole number" and _LEADING_ZERO.fullmatch(node.value):
            remedy = f"write {int(node.value.replace('_', ''))}, or '{text}' if it is a name"
            raise self.fail(f"{text} starts with a zero, which YAML may take for octal", node, key, remedy)
        try:
            value = self.loader.construct_object(node)
        except (ValueError, LookupError, AttributeError):  # PyYAML's own errors on !!int x
            raise self.fail(f"'{text}' is not {kind}", node, key, f"write {kind}; {_QUOTED}") from None
        if kind == "null" and node.value.casefold() not in ("", "~", "null"):
            raise self.fail(f"'{text}' is not null", node, key, "remove the tag !!null")
        if isinstance(value, str):
            self._check_text(value, node, key)
        if isinstance(value, float) and not math.isfinite(value):
            raise self.fail(f"{text} is not a finite number", node, key, "write a finite one")
        if isinstance(value, int) and abs(value) >= MAX_INT:
            raise self.fail(f"{text} is too large", node, key, "write a smaller number")
        return value

    def _check_text(self, text: str, node: yaml.Node, key: Key) -> None:
        if found := _CONTROL.search(text):
            raise self.fail(f"contains the character U+{ord(found[0]):04X}", node, key, "remove it")

    def _tag_error(self, node: yaml.Node, key: Key) -> UserError:
        if node.tag == _MERGE:  # as a value
            return self.fail("'<<' is a key, not a value", node, key, "write it in quotes")
        tag = f"!!{node.tag.removeprefix(_TAG)}" if node.tag.startswith(_TAG) else node.tag
        return self.fail(f"the tag {tag[:40]} means nothing here", node, key, "remove it")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
