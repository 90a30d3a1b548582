"""The search space of a sweep: a tree of parameters, some of which exist only under a choice."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Any, Protocol

from hwcls.config.remedies.values import as_yaml
from hwcls.config.trial import flat_names
from hwcls.errors import UserError, did_you_mean

Path = tuple[str, ...]
Scalar = bool | int | float | str | None


class Suggest(Protocol):
    """The interface of an Optuna trial: suggests one parameter after the other."""

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any: ...
    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int: ...


@dataclass(frozen=True)
class Constant:
    """A value that is not searched."""

    path: Path  # in TrialConfig
    key: Path  # in the sweep file
    value: Any

    def draw(self, suggest: Suggest) -> Any:
        return self.value


@dataclass(frozen=True)
class Values:
    """One of several unordered values."""

    name: str
    path: Path
    key: Path
    options: tuple[Any, ...]

    def choices(self) -> list[Scalar]:
        """The options as Optuna can store them: a list becomes its JSON text."""
        return [option if not isinstance(option, (list, dict)) else json.dumps(option) for option in self.options]

    def draw(self, suggest: Suggest) -> Any:
        choices = self.choices()
        drawn = suggest.suggest_categorical(self.name, choices)
        return self.options[choices.index(drawn)]

    def stored(self, value: object) -> Scalar:
        """The value as Optuna stores it, a list also by its JSON text; raises ValueError if it is no option."""
        for option, choice in zip(self.options, self.choices(), strict=True):
            for one in (option, choice):
                if one == value and isinstance(one, bool) == isinstance(value, bool):
                    return choice
        raise ValueError(value)

    def find(self, recorded: object) -> Any:
        """The option that a value of a config.yaml means; raises ValueError if there is none."""
        found = [option for option in self.options if same_value(recorded, option)]
        if not found:
            raise ValueError(recorded)
        return max(found, key=lambda option: _common_end(recorded, option))  # of two folders with the same name

    def ends(self) -> list[Any]:
        return self.choices()

    def grid(self) -> list[Any]:
        return self.choices()

    def count(self) -> float:
        return len(self.options)

    def __str__(self) -> str:
        return ", ".join(map(as_yaml, self.options))


@dataclass(frozen=True)
class Range:
    """A number between two ends, both included."""

    name: str
    path: Path
    key: Path
    low: float
    high: float
    log: bool
    step: float | None
    integer: bool

    def draw(self, suggest: Suggest) -> float:
        if self.integer:
            return suggest.suggest_int(self.name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return suggest.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    def holds(self, value: object) -> bool:
        """Whether the range can draw a value."""
        if isinstance(value, bool) or not isinstance(value, int if self.integer else (int, float)):
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return self.low <= value <= self.high and abs(steps - round(steps)) < 1e-6

    def stored(self, value: object) -> float:
        """The value as Optuna stores it; raises ValueError if it is not in the range."""
        if not self.holds(value):
            raise ValueError(value)
        return value  # type: ignore[return-value]

    def ends(self) -> list[Any]:
        ends = [self.low] if self.low == self.high else [self.low, self.high]
        return [int(end) for end in ends] if self.integer else ends

    def grid(self) -> list[Any]:
        if not self.integer and self.step is None:
            raise LookupError(self.name)
        points = [min(self.high, self.low + i * (self.step or 1)) for i in range(int(self.count()))]  # not 0.7000…01
        return [int(point) for point in points] if self.integer else points

    def count(self) -> float:
        if not self.integer and self.step is None:
            return math.inf
        return int((self.high - self.low) / (self.step or 1) + 1e-9) + 1

    def __str__(self) -> str:
        kind = "whole numbers, " if self.integer else ""
        step = f", step {self.step:g}" if self.step and not (self.integer and self.step == 1) else ""
        return f"{self.low:g} to {self.high:g} ({kind}{'log' if self.log else 'linear'}{step})"


@dataclass(frozen=True)
class Choice:
    """One of several labelled alternatives; the parameters of a branch exist only there."""

    name: str
    path: Path
    key: Path
    branches: Mapping[str, Group]

    def stored(self, value: object) -> str:
        """The label; raises ValueError if there is no such branch."""
        if value not in list(self.branches):
            raise ValueError(value)
        return str(value)

    def ends(self) -> list[Any]:
        return list(self.branches)

    def grid(self) -> list[Any]:
        return list(self.branches)

    def __str__(self) -> str:
        return ", ".join(self.branches)


@dataclass(frozen=True)
class Group:
    """A mapping: its own entries and at most one choice, whose branch adds others; the two never overlap."""

    path: Path
    key: Path
    children: Mapping[str, Node]
    choice: Choice | None = None

    def draw(self, suggest: Suggest) -> dict[str, Any]:
        drawn: dict[str, Any] = {}
        if self.choice:
            label = suggest.suggest_categorical(self.choice.name, list(self.choice.branches))
            drawn = {"label": label, **self.choice.branches[label].draw(suggest)}
        return drawn | {name: child.draw(suggest) for name, child in self.children.items()}


Parameter = Values | Range | Choice
Node = Constant | Values | Range | Group


class Fixed:
    """Suggests given values, and for every other parameter the first or lowest."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        return self.values.get(name, choices[0])

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float:
        return float(self.values.get(name, low))

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        return int(self.values.get(name, low))


@dataclass(frozen=True)
class Space:
    """The complete tree."""

    root: Group

    def draw(self, suggest: Suggest) -> dict[str, Any]:
        """A point as the nested values of a TrialConfig."""
        return self.root.draw(suggest)

    def parameters(self) -> Iterator[tuple[Parameter, dict[str, str]]]:
        """Every parameter, with the choices under which it exists."""
        yield from _parameters(self.root, {})

    def corners(self) -> Iterator[dict[str, Any]]:
        """Settings that together reach both ends of every range, every value and every branch."""
        yield {}
        for parameter, under in self.parameters():
            for end in parameter.ends():
                yield {**under, parameter.name: end}

    def grid(self, pinned: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Every point of the tree, whose branches may differ, with the `pinned` settings.

        Raises LookupError(name) at a continuous range.
        """
        return [dict(point) for point in _grid(self.root, pinned or {})]

    def size(self, pinned: Mapping[str, Any] | None = None) -> float:
        """How many points `grid` has; infinity where a range is continuous."""
        return _size(self.root, pinned or {})

    def keys(self, settings: Mapping[str, Any]) -> dict[Path, Path]:
        """For a drawn point: the key in the sweep file of each path in its TrialConfig."""
        return dict(_keys(self.root, settings))

    @cached_property
    def flat_names(self) -> dict[Path, str]:
        """The flat name of each parameter by its path: ("optimizer", "lr") is lr."""
        return flat_names(parameter.path for parameter, _ in self.parameters())

    def flat_settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Optuna's parameters by their flat names: {"optimizer.sgd.lr": 0.1} becomes {"lr": 0.1}."""
        flat = {}
        for parameter, _ in self.parameters():
            if parameter.name in settings:
                flat[self.flat_names[parameter.path]] = settings[parameter.name]
        return flat

    def recorded_settings(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What a trial drew by its config.yaml, as `flat_settings`; what the config does not tell is left out."""
        labels: dict[str, str] = {}
        flat = {}
        for parameter, under in self.parameters():  # a choice comes before what exists under it
            if all(labels.get(name) == label for name, label in under.items()):
                with contextlib.suppress(LookupError, TypeError, ValueError):
                    value = _recorded_value(parameter, config)
                    flat[self.flat_names[parameter.path]] = value
                    if isinstance(parameter, Choice):
                        labels[parameter.name] = value
        return flat


def _recorded_value(parameter: Parameter, config: Mapping[str, Any]) -> Any:
    """A parameter's value in a config.yaml, as Optuna stores it; raises LookupError, TypeError or ValueError."""
    value: Any = config
    for part in parameter.path:
        value = value[part]
    if isinstance(parameter, Range):
        if not parameter.holds(value):
            raise ValueError(value)
        return value
    return parameter.stored(value["label"] if isinstance(parameter, Choice) else parameter.find(value))


def same_value(recorded: Any, written: Any) -> bool:
    """Whether a value of a config.yaml and one of a sweep file mean the same.

    They may be numbers, lists, and files, whose path on record is an absolute one.
    """
    if isinstance(recorded, bool) or isinstance(written, bool):
        return recorded is written
    if isinstance(recorded, (int, float)) and isinstance(written, (int, float)):
        return math.isclose(recorded, written, rel_tol=1e-12)
    if isinstance(recorded, (list, tuple)) and isinstance(written, (list, tuple)):
        return len(recorded) == len(written) and all(map(same_value, recorded, written))
    if isinstance(recorded, str) and isinstance(written, str) and os.path.isabs(recorded):
        return PurePath(recorded).name == PurePath(written).name
    return bool(recorded == written)


def _common_end(recorded: object, written: object) -> int:
    """How many of the last parts of two paths are the same."""
    pairs = zip(*(reversed(PurePath(str(path)).parts) for path in (recorded, written)), strict=False)
    return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))


def _parameters(group: Group, under: dict[str, str]) -> Iterator[tuple[Parameter, dict[str, str]]]:
    if group.choice:
        yield group.choice, under
        for label, branch in group.choice.branches.items():
            yield from _parameters(branch, {**under, group.choice.name: label})
    for child in group.children.values():
        if isinstance(child, Group):
            yield from _parameters(child, under)
        elif not isinstance(child, Constant):
            yield child, under


def _grid(group: Group, pinned: Mapping[str, Any]) -> list[dict[str, Any]]:
    axes: list[list[dict[str, Any]]] = []
    if group.choice:
        name, branches = group.choice.name, _open_branches(group.choice, pinned)
        axes.append([{name: label, **point} for label, b in branches.items() for point in _grid(b, pinned)])
    for child in group.children.values():
        if isinstance(child, Group):
            axes.append(_grid(child, pinned))
        elif not isinstance(child, Constant):
            values = [pinned[child.name]] if child.name in pinned else child.grid()
            axes.append([{child.name: value} for value in values])
    return [{k: v for part in parts for k, v in part.items()} for parts in itertools.product(*axes)]


def _size(group: Group, pinned: Mapping[str, Any]) -> float:
    size = 1.0
    if group.choice:
        size *= sum(_size(branch, pinned) for branch in _open_branches(group.choice, pinned).values())
    for child in group.children.values():
        if isinstance(child, Group):
            size *= _size(child, pinned)
        elif not isinstance(child, Constant) and child.name not in pinned:
            size *= child.count()
    return size


def _open_branches(choice: Choice, pinned: Mapping[str, Any]) -> Mapping[str, Group]:
    label = pinned.get(choice.name)
    return choice.branches if label is None else {label: choice.branches[label]}


def _keys(group: Group, settings: Mapping[str, Any]) -> Iterator[tuple[Path, Path]]:
    yield group.path, group.key
    for child in group.children.values():
        if isinstance(child, Group):
            yield from _keys(child, settings)
        else:
            yield child.path, child.key
    if group.choice:
        label = settings.get(group.choice.name, next(iter(group.choice.branches)))
        yield from _keys(group.choice.branches[label], settings)


@dataclass(frozen=True)
class Alternative:
    """One of the alternatives that `compare` names."""

    label: str  # can be the name of a folder
    settings: Mapping[str, Any]  # the parameters that select it, by name
    value: Any  # the choice's label, or the parameter's value


def find_alternatives(space: Space, key: str, where: str) -> list[Alternative]:
    """The alternatives that `compare: key` names; raises UserError when the key has fewer than two."""
    path = tuple(key.removeprefix("parameters.").split("."))
    found = [(p, under) for p, under in space.parameters() if p.path == path]
    comparable = sorted(
        {
            ".".join(p.path)
            for p, under in space.parameters()
            if not under and not isinstance(p, Range) and len(p.ends()) > 1
        }
    )
    remedy = f"possible: {', '.join(comparable)}" if comparable else "no parameter of this file has several values"
    if not found:
        remedy = did_you_mean(".".join(path), comparable, remedy)
        raise UserError(f"'{key}' has no choice and no values", where=where, remedy=remedy)
    parameter, under = found[0]
    if under:
        branch = ", ".join(f"{name} {label}" for name, label in under.items())
        raise UserError(f"'{key}' exists only under {branch}", where=where, remedy=remedy)
    if isinstance(parameter, Range):
        raise UserError(f"'{key}' is a range", where=where, remedy="give it as values: [...]")
    if len(parameter.ends()) < 2:
        raise UserError(f"'{key}' has a single value", where=where, remedy="add another, or remove compare")
    options = parameter.options if isinstance(parameter, Values) else parameter.ends()
    labels = [folder_label(option) for option in options]
    for label in labels:
        if labels.count(label) > 1:
            remedy = "give them labels with choice:, or remove compare"
            raise UserError(f"two values of '{key}' would both have the label {label}", where=where, remedy=remedy)
    ends = parameter.ends()
    return [Alternative(label, {parameter.name: end}, end) for label, end in zip(labels, ends, strict=True)]


def recorded_label(config: Mapping[str, Any], compare: str, space: Space | None) -> str | None:
    """The alternative of `compare` that a trial's config.yaml belongs to; None where it has no such label.

    Args:
        config: The config.yaml.
        compare: As the sweep file has it.
        space: Of the sweep file, by whose spelling a value is called; None where it cannot be read.
    """
    path = tuple(compare.removeprefix("parameters.").split("."))
    value: Any = config
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    for parameter, _ in space.parameters() if space else ():
        if isinstance(parameter, Values) and parameter.path == path:
            with contextlib.suppress(ValueError):
                return folder_label(parameter.find(value))
    if isinstance(value, Mapping):
        value = value.get("label")
        return None if value is None else folder_label(value)
    return folder_label(value)


def folder_label(value: Any) -> str:
    """A compared value as the name of a folder: [64, 32] is 64_32; what would be no name of its own is underscores."""
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    label = re.sub(r"[^\w.+-]", "_", text)
    return label if label.strip(".") else "_" * max(len(label), 1)
