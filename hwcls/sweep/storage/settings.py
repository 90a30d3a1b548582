"""Which settings of two versions of a sweep file differ in what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hwcls.config.space import Constant, Group, Node, Values
from hwcls.config.sweep import EARLIER_METHOD
from hwcls.config.sweep_file import Sweep, parse_sweep
from hwcls.config.yaml_source import YamlSource
from hwcls.errors import UserError

# keys that may change between two starts of one sweep; `name` is that of its folder, which may have been renamed
MUTABLE = {"name", "run_cap", "budget", "confirm", "track", "artifacts", "project", "keep"}
MUTABLE |= {"max_restarts", "hang_after", "resources.concurrent", "trackers", "notify"}


def changed_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The keys whose change makes another sweep of it, sorted; other words for the same thing are no change.

    Args:
        old: A sweep file with presets and options applied, as sweep.yaml keeps it.
        new: The same of another start.
    """
    try:
        return sorted(set(_differences(_meaning(old), _meaning(new))))
    except (UserError, TypeError, ValueError, AttributeError):  # written by another version, or damaged
        return sorted(set(_differences(old, new)))


def _meaning(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with defaults added and short forms, aliases and units resolved."""
    sweep = parse_recorded(settings)
    return {**plain_config(sweep), "parameters": plain_node(sweep.space.root)}


def parse_recorded(settings: Mapping[str, Any], place: str = "sweep.yaml") -> Sweep:
    """The sweep that a sweep.yaml describes, with what earlier versions left out of it; raises UserError."""
    return parse_sweep(YamlSource(place, {"method": EARLIER_METHOD, **settings}))


def plain_config(sweep: Sweep) -> dict[str, Any]:
    """A sweep's settings without its space, as plain values."""
    return sweep.config.model_dump(mode="json", exclude={"parameters", "presets"})


def plain_node(node: Node) -> Any:
    """A part of a space as plain values."""
    if isinstance(node, Constant):
        return node.value
    if isinstance(node, Values):
        return {"values": list(node.options)}
    if isinstance(node, Group):
        labelled = {label: plain_node(branch) for label, branch in node.choice.branches.items()} if node.choice else {}
        entries = {name: plain_node(child) for name, child in node.children.items()}
        return entries | ({"choice": labelled} if labelled else {})
    step = node.step or (1 if node.integer else None)
    return {"min": node.low, "max": node.high, "log": node.log, "step": step}


def _differences(old: Any, new: Any, key: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(old, Mapping) or isinstance(new, Mapping):
        old, new = (
            value if isinstance(value, Mapping) else {} if value is None else {"": value} for value in (old, new)
        )
        for name in {**old, **new}:
            if ".".join((*key, str(name))) not in MUTABLE:
                yield from _differences(old.get(name), new.get(name), (*key, str(name)))
    elif old != new:
        yield ".".join(key)
