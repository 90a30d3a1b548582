"""What differs between two versions of a sweep file, key by key, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hwcls.config.remedies.values import as_yaml
from hwcls.config.space import Group, Node, Space
from hwcls.config.sweep_file import Sweep
from hwcls.format import hide_private
from hwcls.sweep.storage.settings import plain_config, plain_node

Leaves = dict[str, tuple[Any, str]]  # by key: the value, and how it is shown


@dataclass(frozen=True)
class Difference:
    """A key that has another value; None where a version does not have it."""

    key: str
    old: str | None
    new: str | None

    @property
    def is_space(self) -> bool:
        return self.key.startswith("parameters.")

    def __str__(self) -> str:
        key = self.key.removeprefix("parameters.")
        if self.old is None:
            return f"{key}: {self.new} added"
        return f"{key}: {self.old} dropped" if self.new is None else f"{key}: {self.old} → {self.new}"


def list_differences(old: Sweep, new: Sweep) -> list[Difference]:
    """Every key that differs except for the name; of an alternative that came or went the choice alone."""
    config = [_flat(plain_config(sweep)) for sweep in (old, new)]
    spaces = [list_leaves(sweep.space) for sweep in (old, new)]
    labels = [_labels(sweep.space.root) for sweep in (old, new)]
    hidden = tuple(f"{key}." for key in labels[0] ^ labels[1])
    before, after = ({**own, **leaves} for own, leaves in zip(config, spaces, strict=True))
    found = []
    for key in sorted({**before, **after}):
        (was, shown), (is_now, shown_now) = before.get(key, (None, None)), after.get(key, (None, None))
        if was != is_now and not key.startswith(hidden) and key != "name":
            found.append(Difference(key, shown, shown_now))
    return found


def list_leaves(space: Space) -> Leaves:
    """Every entry of a space by its key in the file, a choice by its labels."""
    return dict(_leaves(space.root))


def _leaves(group: Group) -> Iterator[tuple[str, tuple[Any, str]]]:
    for child in group.children.values():
        if isinstance(child, Group):
            yield from _leaves(child)
        else:
            yield ".".join(child.key), (("", plain_node(child)), _shown(child))
    if group.choice:
        yield ".".join(group.choice.key), (list(group.choice.branches), str(group.choice))
        for branch in group.choice.branches.values():
            yield from _leaves(branch)


def _shown(node: Node) -> str:
    value = plain_node(node)
    return str(node) if isinstance(value, dict) and not isinstance(node, Group) else as_yaml(hide_private(value))


def _labels(group: Group) -> set[str]:
    """The keys of all alternatives."""
    groups = [child for child in group.children.values() if isinstance(child, Group)]
    own = group.choice.branches if group.choice else {}
    found = {".".join(branch.key) for branch in own.values()}
    return found.union(*map(_labels, [*groups, *own.values()]))


def _flat(values: Mapping[str, Any], key: str = "") -> Leaves:
    found: Leaves = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{key}{name}.")
        elif value is not None:
            found[f"{key}{name}"] = value, as_yaml(hide_private(value, f"{key}{name}"))
    return found
