"""The reference of the sweep file: every key, from the config classes."""

from __future__ import annotations

from collections.abc import Iterator

from docs.generate.markdown import code, first_sentence, table
from hwcls.config.reference.explain import Explanation, explain_key
from hwcls.config.reference.keys import Key, sweep_keys

UNSAID = ("", "null", "{}", "[]", "see its keys")  # defaults that the description tells
INTRO = """\
Every key of a sweep file, section by section. In `parameters` each value may be a constant, a range `{min: 1, max: 8}`
(with `log: true` or `step: 2`) or a list `{values: [1, 2, 4]}`, and a section may be a choice between alternatives,
`choice: {label: {...}, other: {...}}`. `hwcls explain-key optimizer.lr` prints one key, with an example."""


def render() -> str:
    """The page, as Markdown."""
    sections: dict[str, list[Key]] = {}
    for key in sweep_keys():
        sections.setdefault(key.section, []).append(key)
    parts = ["# Keys of the sweep file", INTRO]
    for name, keys in sections.items():
        parts += _render_section(name, keys)
    return "\n\n".join(parts)


def _render_section(name: str, keys: list[Key]) -> Iterator[str]:
    yield f"## {name}" if name else "## The top of the file"
    if name:
        yield explain_key(name)[0].description
    types = {key.owner: key.cls for key in keys if key.owner and key.path[:-1] == tuple(name.split("."))}
    named = {owner: cls for owner, cls in types.items() if {"name", "type"} & cls.model_fields.keys()}
    if len(named) > 1:
        yield table(["type", ""], [[code(owner), first_sentence(cls.__doc__)] for owner, cls in named.items()])
    paths = dict.fromkeys(key.path for key in keys)
    facts = [fact for path in paths for fact in explain_key(".".join(path)) if fact.key == ".".join(path)]
    several = any(fact.owners for fact in facts)
    columns = ["key", *(["of"] if several else []), "value", "default", "meaning"]
    yield table(columns, [_row(fact, several) for fact in facts])


def _row(fact: Explanation, several: bool) -> list[str]:
    name = code(fact.key.rpartition(".")[2])
    if fact.keys:  # a section
        name = f"[{name}](#{fact.key.replace('.', '').lower()})"
    owners = [", ".join(map(code, fact.owners)) or "all"] if several else []
    value = ", ".join(part for part in (fact.type, fact.range, fact.unit) if part)
    default = "required" if fact.default is None else "" if fact.default in UNSAID else code(fact.default)
    return [name, *owners, value, default, fact.description]
