"""The entries of a sweep file that --set can change, as a tree: what its classes know, and what a file has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_origin

from hwcls.config.annotations import config_classes, plain_types
from hwcls.config.base import Frozen
from hwcls.config.data import DataConfig
from hwcls.config.optim import METRICS
from hwcls.config.space_parser import MARKERS
from hwcls.config.sweep import EARLY_STOPPING, SAMPLERS, TRACKERS, SweepConfig
from hwcls.config.trial import DRAWN_SECTIONS, ModelConfig, TrialConfig

LEFT_OUT = ("label", "presets")  # set by the file alone
DATA, MODEL, RULE = ("parameters", "data"), ("parameters", "model"), ("early_terminate",)
NAMED = {  # values that an annotation does not list
    ("method",): SAMPLERS.names(),
    ("track",): [f"[{name}]" for name in TRACKERS.names()],
    ("metric",): list(METRICS),
    RULE: EARLY_STOPPING.names(),
    (*RULE, "type"): EARLY_STOPPING.names(),
}


@dataclass(frozen=True)
class Entry:
    """A place in the tree.

    Attributes:
        path: Its keys, without choices and their labels.
        annotations: Of the fields that it may be, of several classes where the file leaves the class open.
        raw: What the file has there.
        default: What counts where the file has nothing.
        label: The alternative whose body this is; `*` for all of them.
        is_choice: Whether its keys are labels of alternatives.
    """

    path: tuple[str, ...] = ()
    annotations: tuple[Any, ...] = ()
    raw: Any = None
    default: Any = None
    label: str | None = None
    is_choice: bool = False

    def children(self) -> dict[str, Entry]:
        """The entries in it, by key; empty for a single value."""
        raw = self.raw if isinstance(self.raw, dict) else {"name": self.raw} if isinstance(self.raw, str) else {}
        if self.is_choice:
            bodies = {label: body for label, body in raw.items() if "." not in label}
            found = {label: replace(self, raw=body, label=label, is_choice=False) for label, body in bodies.items()}
            return found | {"*": replace(self, raw={}, label="*", is_choice=False)}
        known = self._classes()
        if not known:
            return {key: Entry((*self.path, key), raw=raw[key]) for key in raw if key in MARKERS | {"log", "step"}}
        found = {}
        for name, cls in known.items():
            for key, info in cls.model_fields.items():
                if key in LEFT_OUT or (key != "name" and not self._may_be(name, raw)):
                    continue
                if self.path == ("parameters",) and key not in DRAWN_SECTIONS:
                    continue
                before = found.get(key, Entry((*self.path, key), raw=raw.get(key), default=info.default))
                found[key] = replace(before, annotations=(*before.annotations, info.annotation))
        own = {key: Entry((*self.path, key), raw=raw[key]) for key in raw if key not in {*found, *LEFT_OUT, "choice"}}
        choice = {"choice": replace(self, raw=raw["choice"], is_choice=True)} if "choice" in raw else {}
        return {**found, **own, **choice}

    @property
    def is_single(self) -> bool:
        """Whether it holds a value, or a range of values, and no section."""
        return not self._classes()

    def values(self) -> list[str]:
        """What it may be set to, as far as that can be listed, and what it is now."""
        if self.is_choice or self.label is not None:
            return []
        known: list[Any] = [*NAMED.get(self.path, ()), *self._listed()]
        now = self.default if self.raw is None else self.raw
        if isinstance(now, (bool, int, float, str)):
            known.append(now)
        return list(dict.fromkeys(map(_as_yaml, known)))

    def _listed(self) -> Iterator[Any]:
        """The values that annotations list."""
        for plain in (plain for annotation in self.annotations for plain in plain_types(annotation)):
            if get_origin(plain) is Literal:
                yield from get_args(plain)
            elif plain is bool:
                yield from (True, False)
            elif plain is type(None):
                yield None
        names = self._classes()
        yield from (name for name in names if name and len(names) > 1 and self.path != RULE)

    def _classes(self) -> Mapping[str, type[Frozen]]:
        """The config classes that describe its keys, by the names that select them."""
        if not self.path:
            return {"": SweepConfig}
        if self.path == ("parameters",):
            return {"": TrialConfig}
        if self.path == RULE:
            return EARLY_STOPPING.all()
        return {name: cls for annotation in self.annotations for name, cls in config_classes(annotation).items()}

    def _may_be(self, name: str, raw: Mapping[str, Any]) -> bool:
        """Whether the class called `name` may describe it, by what the file says."""
        known = self._classes()
        bodies = raw.get("choice")
        if isinstance(bodies, dict):
            named = [body.get("name", label) if isinstance(body, dict) else label for label, body in bodies.items()]
        else:
            named = [raw.get("type" if self.path == RULE else "name", self.label)]
        chosen = {str(one) for one in named} & known.keys()
        return not chosen or name in chosen


SWEEP = Entry()
DATA_SECTION = Entry(DATA, (DataConfig,))
MODEL_SECTION = Entry(MODEL, (ModelConfig,))


def complete_setting(root: Entry, incomplete: str) -> list[str]:
    """Completions of `a.b=value`: the keys at the next dot, or the values of a key that is complete.

    A single completion includes the keys or values below it, as a shell would add a space after it.
    Raises KeyError for an unknown key.
    """
    dotted, equals, _ = incomplete.partition("=")
    if equals:
        return [f"{dotted}={value}" for value in _find(root, dotted.split(".")).values()]
    above, dot, start = dotted.rpartition(".")
    entry, prefix = _find(root, above.split(".") if dot else []), above + dot
    while True:
        children = {key: child for key, child in entry.children().items() if key.startswith(start)}
        found = [f"{prefix}{key}{end}" for key, child in children.items() for end in _ends(child)]
        if len(found) != 1:
            return found
        ((key, entry),) = children.items()
        if found[0].endswith("="):
            return [*found, *(f"{found[0]}{value}" for value in entry.values())]
        prefix, start = f"{prefix}{key}.", ""


def _find(entry: Entry, keys: list[str]) -> Entry:
    for key in keys:
        entry = entry.children()[key]
    return entry


def _ends(entry: Entry) -> list[str]:
    """What may follow a key: a further key, a value."""
    return [*(["."] if entry.children() else []), *(["="] if entry.is_single or entry.values() else [])]


def _as_yaml(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
