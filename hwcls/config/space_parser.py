"""Parse the `parameters` of a sweep file into a Space, checked against the config classes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

from hwcls.config.annotations import USER, config_classes, plain_types, takes_any_key, takes_integers, takes_numbers
from hwcls.config.base import Frozen
from hwcls.config.remedies.keys import unknown_key
from hwcls.config.remedies.values import show, wrong_type
from hwcls.config.space import Choice, Constant, Group, Node, Path, Range, Space, Values, recorded_label
from hwcls.config.trial import DRAWN_SECTIONS, TrialConfig
from hwcls.config.yaml_source import YamlSource
from hwcls.errors import UserError, did_you_mean

WORDS = ("min", "max", "log", "step", "values", "value", "distribution", "q")
MARKERS = {"min", "max", "values", "value", "distribution"}  # one of them makes a mapping a parameter
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
LABEL_RULE = "use letters, digits and _ . + - (64 at most), a letter or digit first"
DISTRIBUTIONS = ("uniform", "int_uniform", "q_uniform", "log_uniform_values", "categorical", "constant")


def parse_space(source: YamlSource) -> Space:
    """The tree under `parameters:`; raises UserError with the key path and line of the first error."""
    raw = source.values.get("parameters")
    key = ("parameters",)
    if not isinstance(raw, dict) or not raw:
        raise UserError(
            "'parameters' is missing or empty", where=source.where(key), remedy="it holds data, model and optimizer"
        )
    for name in raw:
        if name not in DRAWN_SECTIONS:
            remedy = unknown_key(name, DRAWN_SECTIONS, "parameters")
            raise UserError(f"unknown key '{name}'", where=source.where((*key, name)), remedy=remedy)
    for name in ("data", "model", "optimizer"):
        if name not in raw:
            raise UserError(f"'{name}' is missing", where=source.where(key), remedy=f"add {name}: under parameters")
    space = Space(_Parser(source).group_of(TrialConfig, raw, (), key, ()))
    _check_names(space, source)
    return space


class RecordedSpace:
    """The search space of a sweep.yaml, parsed when it is needed.

    Attributes:
        compare: The key that it compares, None without one.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self.compare = None if settings.get("compare") is None else str(settings["compare"])

    @cached_property
    def space(self) -> Space | None:
        """None where another version wrote it, or it is damaged."""
        try:
            return parse_space(YamlSource("sweep.yaml", dict(self._settings)))
        except (UserError, TypeError, ValueError, AttributeError):
            return None

    def label(self, config: Mapping[str, Any]) -> str | None:
        """The alternative of a trial with this config.yaml; None without `compare`, or where it has no label."""
        return None if self.compare is None else recorded_label(config, self.compare, self.space)


def _check_names(space: Space, source: YamlSource) -> None:
    """Raise UserError where two parameters have one name, as of a label that is also the name of a shared section."""
    keys: dict[str, Path] = {}
    for parameter, _ in space.parameters():
        key, other = parameter.key, keys.setdefault(parameter.name, parameter.key)
        if key != other:
            place = next(i for i, (own, its) in enumerate(zip(key, other, strict=False)) if own != its)
            label = next(
                one[one.index("choice", place - 1) + 1] for one in (other, key) if "choice" in one[place - 1 :]
            )
            what = f"{'.'.join(other)} and {'.'.join(key)} would both be called '{parameter.name}'"
            raise UserError(what, where=source.where(key), remedy=f"give '{label}' under choice another label")


class _Parser:
    """Walks the file and the config classes in parallel."""

    def __init__(self, source: YamlSource) -> None:
        self.source = source

    def fail(self, what: str, key: Path, remedy: str = "") -> UserError:
        return UserError(what, where=self.source.where(key), remedy=remedy)

    def group_of(self, cls: type[Frozen], raw: Mapping[str, Any], path: Path, key: Path, name: Path) -> Group:
        """The fields of one class, each parsed by its annotation; `name` prefixes the parameters' names."""
        return Group(path, key, {field: self.field([cls], field, raw[field], path, key, name) for field in raw})

    def field(self, classes: Sequence[type[Frozen]], field: str, raw: Any, path: Path, key: Path, name: Path) -> Node:
        """An entry, whose key every class in `classes` must have."""
        here = (*key, field)
        for cls in classes:
            if field not in cls.model_fields and not takes_any_key(cls):
                known = [f for f in cls.model_fields if f != "label"]
                whose = f" of {_title(cls)}" if len(classes) > 1 else ""
                remedy = unknown_key(field, known, ".".join(("parameters", *path)))
                raise self.fail(f"unknown key '{field}'{whose}", here, remedy)
        if field == "label":
            raise self.fail("'label' is set by the choice itself", here, "remove it")
        annotations = [cls.model_fields[field].annotation for cls in classes if field in cls.model_fields]
        return self.node(annotations, raw, (*path, field), here, (*name, field))

    def node(self, annotations: Sequence[Any], raw: Any, path: Path, key: Path, name: Path) -> Node:
        """A parameter, a constant, or the group that a config class describes."""
        for annotation in annotations:
            classes = config_classes(annotation)
            if not classes:
                continue
            if raw is None and type(None) in plain_types(annotation):
                return Constant(path, key, None)
            if isinstance(raw, str) and any("name" in cls.model_fields for cls in classes.values()):
                raw = {"name": raw}  # `optimizer: adam`
            if not isinstance(raw, dict):
                raise self.fail(f"expected entries, found {show(raw)}", key, _section_remedy(raw, classes, path[-1]))
            return self.config(classes, raw, path, key, name)
        if isinstance(raw, dict):
            if MARKERS & raw.keys():
                return self.parameter(annotations, raw, path, key, name)
            if annotations:
                word = next(iter(raw), "")
                what = f"unknown word '{word}'" if raw else "is empty"
                raise self.fail(
                    what,
                    (*key, word) if raw else key,
                    did_you_mean(word, WORDS) if word else "give a value, values or min and max",
                )
        return Constant(path, key, raw)

    def config(
        self, classes: Mapping[str, type[Frozen]], raw: dict[str, Any], path: Path, key: Path, name: Path
    ) -> Group:
        """A section that one of several classes describes, or a choice among labelled bodies."""
        by_name = raw.get("name")
        if "choice" not in raw and "" not in classes and isinstance(by_name, dict) and "values" in by_name:
            options = by_name["values"] if isinstance(by_name["values"], list) else []
            if not options:
                raise self.fail("'values' needs a list", (*key, "name", "values"), "write values: [a, b]")
            raw = {"choice": {str(option): {} for option in options}, **{k: v for k, v in raw.items() if k != "name"}}
        if "choice" in raw:
            return self.choice(classes, raw, path, key, name)
        if word := next((word for word in raw if word in MARKERS), None):
            remedy = _section_remedy(raw[word], classes, path[-1])
            raise self.fail(f"'{word}' is for single keys, and {path[-1]} has several", (*key, word), remedy)
        cls, raw = self.pick(classes, raw, None, path, key)
        return self.group_of(cls, raw, path, key, name)

    def choice(
        self, classes: Mapping[str, type[Frozen]], raw: dict[str, Any], path: Path, key: Path, name: Path
    ) -> Group:
        """`choice: {label: body}` with its siblings, which every alternative shares."""
        here = (*key, "choice")
        bodies = raw["choice"]
        if not isinstance(bodies, dict) or not bodies:
            remedy = (
                _section_remedy(bodies, classes, path[-1])
                if isinstance(bodies, list)
                else "write choice: {label: {...}, other: {...}}"
            )
            raise self.fail("'choice' needs alternatives", here, remedy)
        siblings = {field: value for field, value in raw.items() if field != "choice"}
        bodies = {label: {} if body is None else body for label, body in bodies.items()}
        for label, body in bodies.items():
            if not LABEL.fullmatch(label) or len(label) > 64:
                raise self.fail(f"'{label}' cannot be a label", (*here, label), LABEL_RULE)
            if not isinstance(body, dict):
                raise self.fail("an alternative is a mapping of entries", (*here, label), f"write {label}: {{}}")
            if "choice" in body:
                raise self.fail(
                    "a choice directly in a choice",
                    (*here, label, "choice"),
                    "write its alternatives side by side",
                )
        overridden = {field for field in siblings if any(field in body for body in bodies.values())}
        for field in overridden - {"name"}:
            if all(field in body and not _mergeable(siblings[field], body[field]) for body in bodies.values()):
                raise self.fail(f"every alternative sets '{field}' itself", (*key, field), "remove it here, or there")
        branches, used = {}, []
        for label, body in bodies.items():
            merged = _merge({field: siblings[field] for field in siblings if field in overridden}, body)
            named = {"name": siblings["name"]} if "name" in siblings and "name" not in merged else {}
            cls, merged = self.pick(classes, {**named, **merged}, label, path, (*here, label))
            used.append(cls)
            branches[label] = self.group_of(cls, merged, path, (*here, label), (*name, label))
        shared = {
            field: self.field(used, field, value, path, key, name)
            for field, value in siblings.items()
            if field not in overridden and field != "name"
        }
        return Group(path, key, shared, Choice(".".join(name), path, here, branches))

    def pick(
        self, classes: Mapping[str, type[Frozen]], raw: dict[str, Any], label: str | None, path: Path, key: Path
    ) -> tuple[type[Frozen], dict[str, Any]]:
        """The class that the body's `name`, or else its label, selects; with the name added to the body."""
        if "" in classes:
            cls = classes[""]
            needs_name = "name" in cls.model_fields and label is not None and "path" not in raw  # of a data set's own
            return cls, {"name": label, **raw} if needs_name else raw
        kind = raw.get("name", label)
        known = [known for known in classes if known != USER]
        spot = (*key, "name") if "name" in raw else key
        if kind is None:
            raise self.fail(f"which {path[-1]} is missing", key, f"add name: {' | '.join(known)}")
        cls_found = classes.get(USER if ":" in str(kind) and USER in classes else str(kind))
        if cls_found is None:
            other = "" if "name" in raw else "; another label needs a name: in its body"
            raise self.fail(f"unknown {path[-1]} '{kind}'", spot, _type_remedy(str(kind), classes) + other)
        return cls_found, {**raw, "name": str(kind)}

    def parameter(self, annotations: Sequence[Any], raw: dict[str, Any], path: Path, key: Path, name: Path) -> Node:
        """{min, max}, {values} or {value}, in W&B's words."""
        for word in raw:
            if word not in WORDS:
                raise self.fail(f"unknown word '{word}'", (*key, word), did_you_mean(word, WORDS))
        distribution = raw.get("distribution")
        problem = None if distribution is None else _distribution_problem(distribution)
        if problem is not None:
            raise self.fail(problem[0], (*key, "distribution"), problem[1])
        kinds = [kind for kind in ("value", "values") if kind in raw] + (
            ["min and max"] if {"min", "max"} & raw.keys() else []
        )
        if len(kinds) != 1:
            what = " and ".join(kinds) + " exclude each other" if kinds else "has neither value, values nor min and max"
            raise self.fail(what, key, "keep one of them")
        full = ".".join(name)
        if "value" in raw:
            return Constant(path, key, raw["value"])
        if "values" in raw:
            options = raw["values"]
            if not isinstance(options, list) or not options:
                raise self.fail("'values' needs a list", (*key, "values"), "write values: [a, b]")
            if any(option in options[:i] for i, option in enumerate(options)):
                raise self.fail("'values' contains a value twice", (*key, "values"), "remove one")
            return Values(full, path, key, tuple(options))
        if any(not takes_numbers(annotation) for annotation in annotations):
            raise self.fail(f"'{path[-1]}' takes no range", key, "write values: [...]")
        integer = bool(annotations) and all(takes_integers(annotation) for annotation in annotations)
        if not annotations:  # a key of the user's own model: its ends decide
            integer = all(isinstance(raw.get(end), int) for end in ("min", "max"))
        return self.range(raw, integer or distribution == "int_uniform", path, key, full)

    def range(self, raw: dict[str, Any], integer: bool, path: Path, key: Path, name: str) -> Range:
        """{min, max, log, step}, checked."""
        numbers: dict[str, float] = {}
        for word in ("min", "max", "step", "q"):
            value = raw.get(word)
            if word in raw and (
                isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value)
            ):
                remedy = wrong_type(value, [int if integer else float])[1]
                raise self.fail(f"'{word}' is not a number: {show(value)}", (*key, word), remedy)
            if word in raw:
                numbers[word] = value  # type: ignore[assignment]
        for word in ("min", "max"):
            if word not in numbers:
                raise self.fail(f"'{word}' is missing", key, "a range has min and max")
        low, high, step = numbers["min"], numbers["max"], numbers.get("step", numbers.get("q"))
        log = raw.get("log", raw.get("distribution") == "log_uniform_values")
        if not isinstance(log, bool):
            raise self.fail(f"'log' is true or false, not {show(log)}", (*key, "log"))
        if low > high:
            raise self.fail(f"min {low:g} is above max {high:g}", key, "swap min and max")
        if log and low <= 0:
            raise self.fail(f"a log range cannot start at {low:g}", (*key, "min"), "start it above 0, or drop log")
        if step is not None and (step <= 0 or step > high - low or log):
            what = "a log range takes no step" if log else f"the step {step:g} does not fit into {low:g} to {high:g}"
            raise self.fail(what, (*key, "step"), "remove it or make it smaller")
        if integer and any(number != int(number) for number in (low, high, step or 1)):
            raise self.fail(f"'{path[-1]}' takes whole numbers", key, "write min, max and step without a fraction")
        return Range(name, path, key, low, high if step is None else _last_step(low, high, step), log, step, integer)


def _distribution_problem(name: Any) -> tuple[str, str] | None:
    """What is wrong with a `distribution`, and the remedy; None where it is known."""
    if name in ("log_uniform", "q_log_uniform"):
        return f"'{name}' is ambiguous: its min and max are exponents", "write min and max as values, with log: true"
    if name not in DISTRIBUTIONS:
        return f"unknown distribution {show(name)}", did_you_mean(name, DISTRIBUTIONS)
    return None


def _last_step(low: float, high: float, step: float) -> float:
    """The highest number that steps reach, as Optuna counts them: 0.8 of steps of 0.15 from 0.5 to 0.9."""
    start, end, size = (Decimal(str(number)) for number in (low, high, step))
    rest = (end - start) % size
    return high if not rest else float(end - rest)


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`under` updated with `over`; mappings are merged unless one of them is a parameter or a choice."""
    merged = {**under, **over}
    for field in under.keys() & over.keys():
        if _mergeable(under[field], over[field]):
            merged[field] = _merge(under[field], over[field])
    return merged


def _mergeable(a: object, b: object) -> bool:
    """Whether two entries are plain sections, neither parameters nor choices."""
    return isinstance(a, dict) and isinstance(b, dict) and not (MARKERS | {"choice"}) & (a.keys() | b.keys())


def _title(cls: type[Frozen]) -> str:
    return cls.__name__.removesuffix("Config").lower()


def _section_remedy(raw: object, classes: Mapping[str, type[Frozen]], name: str) -> str:
    """How to write a section that was given as a value or as several."""
    known = [known for known in classes if known not in ("", USER)]
    if isinstance(raw, str) and known:
        return f"write {name}: {raw}"
    if isinstance(raw, str) and raw.casefold() == "none":
        return f"write {name}: {{}}"
    if isinstance(raw, (int, float)):
        return "give it to one of its keys"
    options = raw if isinstance(raw, list) else []
    if options and not known and all(isinstance(option, str) for option in options):
        return f"write {name}: {{{', '.join(f'{option}: ...' for option in options)}}}"
    if options and all(isinstance(option, str) for option in options):
        return f"write {name}: {{choice: {{{', '.join(f'{option}: {{}}' for option in options)}}}}}"
    if options and all(isinstance(option, dict) for option in options):
        bodies = ", ".join(f"{label}: {show(option)}" for label, option in zip("abcdefgh", options, strict=False))
        return f"write {name}: {{choice: {{{bodies}}}}}"
    return f"write {name}: {{name: {' | '.join(known)}}}" if known else f"write {name}: {{key: value}}"


def _type_remedy(name: str, classes: Mapping[str, type[Frozen]]) -> str:
    """The remedy for an unknown type of a section; a model may also be of timm or of a file."""
    remedy = did_you_mean(name, [kind for kind in classes if kind != USER])
    if "timm" not in classes or not remedy.startswith("known"):
        return remedy
    if name.endswith(".py"):
        return f"name its function: {name}:build"
    return f"a backbone of timm is {{name: timm, backbone: {name}}}; {remedy}"
