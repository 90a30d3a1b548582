"""Load a sweep file as a checked Sweep: apply presets and --set, build every branch, report errors with their place."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hwcls.config.annotations import config_classes
from hwcls.config.base import Frozen
from hwcls.config.data import ChosenSize, complete_inputs, find_files_beside
from hwcls.config.model import ModelFamily
from hwcls.config.remedies.keys import unknown_key
from hwcls.config.remedies.values import describe_error, first_error, show
from hwcls.config.shares import Shares
from hwcls.config.space import Alternative, Fixed, Range, Space, Suggest, find_alternatives
from hwcls.config.space_parser import parse_space
from hwcls.config.sweep import EARLIER_METHOD, EARLY_STOPPING, TRACKERS, EarlyStopping, SweepConfig
from hwcls.config.trial import DRAWN_SECTIONS, TrialConfig, use_copied_source, with_earlier_keys
from hwcls.config.yaml_source import Key, YamlSource, parse_value, read_source
from hwcls.errors import UserError, did_you_mean
from hwcls.escape import shell_word
from hwcls.reading import read_or_none, read_yaml

UNION_SECTIONS = ("model", "optimizer", "scheduler")  # pydantic adds the chosen type to an error's location


@dataclass(frozen=True)
class Sweep:
    """A checked sweep file: its config, its search space, and the file and line of every entry."""

    config: SweepConfig
    space: Space
    source: YamlSource
    earlier: bool = False  # version 0.1 began it: the trials to come keep that version's defaults
    image_sizes: Mapping[str, ChosenSize] = field(default_factory=dict)  # by data set, where the file has none
    completes_inputs: bool = False  # what the file leaves open of a trial's inputs is then what its weights expect
    earlier_split: Mapping[str, Any] = field(default_factory=dict)  # of `data`, as the version that began it split
    earlier_models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # of `model`, by name; likewise
    rule_before: str | None = None  # of early stopping, that of earlier starts: the file may leave it open
    notes: tuple[str, ...] = ()  # on what options changed in the file

    def trial(self, suggest: Suggest, *, seed: int = 0, workers: int = 1, threads: int = 1) -> TrialConfig:
        """Draw a complete TrialConfig; `seed` applies unless the file searches the seed.

        Relative paths of the user's files are looked for beside the sweep file first.
        """
        trial = self._as_written(suggest, seed=seed, workers=workers, threads=threads)
        data, model, chosen = trial.data, trial.model.beside(self.folder), self.image_sizes.get(trial.data.name)
        if self.completes_inputs:
            data = complete_inputs(data, model.expects)
        if data.image_size is None and chosen is not None and (model.pretrained_from or not chosen.pretrained_only):
            data = data.model_copy(update={"image_size": chosen.side})
        return trial.model_copy(update={"data": data, "model": model})

    def _as_written(self, suggest: Suggest, **settings: int) -> TrialConfig:
        """The trial with the path of its model file as the sweep file has it."""
        values = {**settings, **self.space.draw(suggest), "metric": self.config.metric.model_dump(mode="json")}
        data = with_earlier_keys(values["data"], self.earlier_split) if self.earlier_split else values.get("data")
        if isinstance(data, dict):
            data = find_files_beside(data, self.folder, lambda: self._recorded_files)
        model = values.get("model")
        if isinstance(model, dict) and (earlier := self.earlier_models.get(str(model.get("name")))):
            values["model"] = {**earlier, **model}
        return TrialConfig.from_dict({**values, "data": data} if data is not None else values)

    @cached_property
    def _recorded_files(self) -> list[str]:
        """The user's files as the trials of a results folder have them, whose sweep.yaml this is: it may have moved."""
        trials = self.folder.glob("trials/*/config.yaml") if Path(self.source.path).name == "sweep.yaml" else ()
        found = [read_or_none(read_yaml, config) or {} for config in trials]
        data = [one["data"] for one in found if isinstance(one.get("data"), dict)]
        layouts = [one["layout"] for one in data if isinstance(one.get("layout"), dict)]
        paths = [one.get("path") for one in data] + [one.get("table") for one in layouts]
        return sorted({path for path in paths if isinstance(path, str) and os.path.isabs(path)})

    @property
    def folder(self) -> Path:
        """Of the sweep file."""
        return Path(self.source.path).parent

    @cached_property
    def written_models(self) -> dict[str, ModelFamily]:
        """The models of the corners as the sweep file writes them, by the names and weights of those found for them."""
        written = [self._as_written(Fixed(settings)).model for settings in self.space.corners()]
        found = [(model.beside(self.folder), model) for model in written]
        return {str(key): model for located, model in found for key in (located.name, located.weights_file)}

    @cached_property
    def alternatives(self) -> list[Alternative]:
        """The alternatives that `compare` names, in the file's order; empty when the sweep compares nothing."""
        if self.config.compare is None:
            return []
        return find_alternatives(self.space, self.config.compare, self.source.where(("compare",)))

    @cached_property
    def corners(self) -> tuple[TrialConfig, ...]:
        """Trials with both ends of every range, every value and every branch; UserError at the first that is invalid.

        The first has the first or lowest of everything.
        """
        return tuple(self._valid_trial(settings) for settings in self.space.corners())

    def check_lengths(self) -> None:
        """Raise UserError where a corner cannot be trained for one of the numbers of epochs that are searched."""
        lengths = [parameter for parameter, _ in self.space.parameters() if parameter.path == ("epochs",)]
        for parameter in lengths:
            for settings in self.space.corners():
                for epochs in parameter.ends():
                    self._valid_trial({**settings, parameter.name: epochs})

    def _valid_trial(self, settings: Mapping[str, Any]) -> TrialConfig:
        try:
            return self.trial(Fixed(settings))
        except ValidationError as error:
            raise _trial_error(error, self, settings) from None

    def find_trial(self, settings: Mapping[str, Any]) -> TrialConfig | None:
        """The trial with some settings; None for a combination that cannot be trained, which no search runs."""
        try:
            return self.trial(Fixed(settings))
        except ValidationError:
            return None

    def alternative_label(self, settings: Mapping[str, Any]) -> str | None:
        """The alternative that drawn settings belong to; None without `compare`, or where they leave it open."""
        for alternative in self.alternatives:
            if all(name in settings and settings[name] == value for name, value in alternative.settings.items()):
                return alternative.label
        return None

    @cached_property
    def grid(self) -> list[dict[str, Any]] | None:
        """Every point of a grid, alternatives in turn so that a time budget is fair to them; None without a grid."""
        return self.interleave(self.space.grid()) if self.config.search.enumerates else None

    def interleave(self, points: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Drawn settings, sorted so that the alternatives take turns."""
        turns: Counter[str | None] = Counter()
        placed = []
        for point in points:
            label = self.alternative_label(point)
            placed.append((turns[label], point))
            turns[label] += 1
        return [point for _, point in sorted(placed, key=lambda turn: turn[0])]

    def confirm_runs(
        self, settings: Mapping[Any, int], labels: Sequence[str | None]
    ) -> dict[str | None, tuple[int, int]]:
        """Of each alternative: how many runs pick its winner, and how many report it; zeros without confirm.

        Args:
            settings: How many there are to confirm, by alternative; of those left out, as many as `confirm.top`.
            labels: The alternatives.
        """
        config = self.config.confirm
        if config is None:
            return dict.fromkeys(labels, (0, 0))
        known = {label: settings.get(label, config.top) for label in labels}
        if not self.config.metric.costs:
            return {label: config.runs(count) for label, count in known.items()}
        points, parts = min(config.top, sum(known.values())), len(labels)  # of the front, as if spread evenly
        return {
            label: (0, config.seeds * (points // parts + (place < points % parts)))
            for place, label in enumerate(labels)
        }

    @property
    def total(self) -> int | None:
        """How many trials the search has in all; None where only the time budget ends it."""
        return self.config.run_cap if self.grid is None else len(self.grid)

    @cached_property
    def early_stopping(self) -> EarlyStopping | None:
        """The early stopping of the search, with what the file leaves open."""
        config, may_pause = self.config.early_terminate, self.config.keep != "none" and self.config.search.pauses_trials
        return config and config.spell_out(before=self.rule_before, may_pause=may_pause)

    def most_trials(self, label: str | None) -> int | None:
        """How many trials an alternative has at most; None where that is known only at the end."""
        each = None if self.config.first else self.shares.trials_each()  # settings of `first` belong to any
        return each[label] if each and label in each else self.total

    @cached_property
    def shares(self) -> Shares:
        """How the alternatives share the budget."""
        labels = tuple(alternative.label for alternative in self.alternatives)
        unit = self.config.share or ("seconds" if self.total is None else "trials")
        points = None if self.grid is None else tuple(self.alternative_label(point) for point in self.grid)
        return Shares(labels, unit, self.total, points)

    @cached_property
    def sizes(self) -> list[tuple[str | None, int, float]]:
        """Of each alternative (None without `compare`): its trials, and how many settings there are to try.

        Empty where its number of trials is known only at the end.
        """
        if not self.alternatives:
            return [] if self.total is None else [(None, self.total, self.space.size())]
        each = self.shares.trials_each() or {}
        return [(one.label, each[one.label], self.space.size(one.settings)) for one in self.alternatives if each]

    def resolved(self) -> dict[str, Any]:
        """The file with presets and --set applied and short forms expanded, as sweep.yaml keeps it."""
        values = {key: value for key, value in self.source.values.items() if key != "presets"}
        given = {"metric": self.config.metric.model_dump(mode="json"), "method": self.config.method}
        return values | given | {"track": list(self.config.track)}

    def begun(self, recorded: Mapping[str, Any]) -> Sweep:
        """The sweep as it has begun by its sweep.yaml: where neither has a method, by the default of then."""
        if self.source.values.get("method") is not None or recorded.get("method", EARLIER_METHOD) != EARLIER_METHOD:
            return self
        return replace(self, config=self.config.model_copy(update={"method": EARLIER_METHOD}))

    def renamed(self, name: str) -> Sweep:
        """The same sweep under another name."""
        source = replace(self.source, values={**self.source.values, "name": name})
        return replace(self, config=self.config.model_copy(update={"name": name}), source=source)


def load_sweep(path: Path, preset: str | None = None, sets: Sequence[str] = (), budget: str | None = None) -> Sweep:
    """Read and check a sweep file; raises UserError with the place and the remedy."""
    source = read_source(path)
    source.values = {key: value for key, value in source.values.items() if not key.startswith("x-")}
    if preset is not None:
        _apply_preset(source, preset)
    for item in sets:
        dotted, equals, text = item.partition("=")
        if not equals or not dotted.strip():
            raise UserError(f"--set {item}: no '=' in it", remedy="write --set run_cap=20")
        _apply(source, dotted.strip(), parse_value(text, f"--set {item}"), f"--set {dotted.strip()}")
    notes: tuple[str, ...] = ()
    if budget is not None:
        _apply(source, "budget", budget, "--for")
        cap = source.values.pop("run_cap", None)
        notes = () if cap is None else (f"--for {budget}: run_cap {cap} of the file is not used",)
    if source.values.get("name") is None:
        source.values["name"] = path.stem
    sweep = replace(parse_sweep(source), notes=notes)
    _ = sweep.corners  # raises where a trial of this sweep would be invalid
    sweep.check_lengths()
    _check_search(sweep)
    return sweep


def parse_sweep(source: YamlSource) -> Sweep:
    """The sweep that a file's values describe, its branches not yet built; raises UserError."""
    return Sweep(_sweep_config(source), parse_space(source), source)


def _apply_preset(source: YamlSource, name: str) -> None:
    presets = source.values.get("presets") or {}
    if not isinstance(presets, dict) or not isinstance(presets.get(name), dict):
        known = list(presets) if isinstance(presets, dict) else []
        remedy = did_you_mean(name, known) or "the file has no presets"
        raise UserError(f"no preset '{name}'", where=source.where(("presets",)), remedy=remedy)
    for dotted, value in presets[name].items():
        _apply(source, dotted, value, f"preset {name}")


def _apply(source: YamlSource, dotted: str, value: Any, place: str) -> None:
    root = dotted.split(".")[0]
    if root not in SweepConfig.model_fields:
        drawn = root in DRAWN_SECTIONS
        remedy = f"write parameters.{dotted}" if drawn else unknown_key(root, SweepConfig.model_fields, "")
        raise UserError(f"unknown key '{root}'", where=f"{source.path} ({place})", remedy=remedy)
    source.set(dotted, value, place)


def _sweep_config(source: YamlSource) -> SweepConfig:
    values = {key: value for key, value in source.values.items() if value is not None}
    _check_no_test_metric(source, values.get("metric"))
    early = values.get("early_terminate")
    if isinstance(early, str):
        values["early_terminate"] = early = {"type": early}
    kind = early.get("type") if isinstance(early, dict) else None
    if isinstance(kind, str) and kind.casefold() == "none":
        del values["early_terminate"]
    try:
        return SweepConfig.model_validate(values)
    except ValidationError as error:
        first = first_error(error)
        key = tuple(str(part) for part in first["loc"])
        section = ".".join(key[:-1])
        root, own = _root_of(first)
        known = _known_keys(root, tuple(map(str, own["loc"][:-1])))
        what, remedy = describe_error(own, known, root, section=section)
        key = _key_of_several(key) if isinstance(values.get("metric"), list) else key
        word = what.partition(" ")[0]  # an error about several keys starts with the key to change
        place = key or ((word,) if word in source.values else ())
        raise UserError(what, where=source.where(place), remedy=remedy) from None


def _check_no_test_metric(source: YamlSource, metric: object) -> None:
    """Raise UserError where a metric, or one of several, is of test."""
    for place, one in enumerate(metric if isinstance(metric, list) else [metric]):
        name = one.get("name") if isinstance(one, dict) else one
        if isinstance(name, str) and name.startswith("test/"):
            key = ("metric", *([str(place)] if isinstance(metric, list) else []))
            where = source.where((*key, "name") if isinstance(one, dict) else key)
            what = f"'{name}' cannot be the metric: test is read once, at the end"
            raise UserError(what, where=where, remedy="use val/accuracy")


def _key_of_several(key: Key) -> Key:
    """The place in the file's list of metrics, of which the config keeps the first apart from the others."""
    if key[:2] == ("metric", "costs"):
        return ("metric", *(str(int(part) + 1) for part in key[2:3]), *key[3:])
    return ("metric", "0") if key[:1] == ("metric",) and len(key) > 1 else key


def _root_of(error: ErrorDetails) -> tuple[type[Frozen], ErrorDetails]:
    """The class in which an error's location starts, and the error: of a tracker's settings their own class."""
    match error["loc"]:
        case ("trackers", str(name), *rest) if rest and name in TRACKERS.names():
            return TRACKERS[name].settings, {**error, "loc": tuple(rest)}
    return SweepConfig, error


def _known_keys(cls: type[Frozen], key: Key) -> list[str]:
    for part in key:
        field = cls.model_fields.get(part)
        inner = config_classes(field.annotation) if field else {}
        if not inner:
            return []
        cls = next(iter(inner.values()))
    if cls is EarlyStopping:  # the field is annotated with the base class of all rules
        return list(dict.fromkeys(name for rule in EARLY_STOPPING.all().values() for name in rule.model_fields))
    return list(cls.model_fields)


def _trial_error(error: ValidationError, sweep: Sweep, settings: Mapping[str, Any]) -> UserError:
    first = first_error(error)
    keys = sweep.space.keys(settings)
    loc = _key_path(first, keys)
    place = next((loc[:n] for n in range(len(loc), 0, -1) if loc[:n] in keys), ())
    what, remedy = describe_error(first, root=TrialConfig, searched=True)
    return UserError(what, where=sweep.source.where(keys.get(place, ("parameters",))), remedy=remedy)


def _key_path(error: ErrorDetails, known: Container[Key]) -> Key:
    """The path in a trial's config that a pydantic error is about."""
    loc = tuple(str(part) for part in error["loc"])
    loc = (loc[0], *loc[2:]) if loc and loc[0] in UNION_SECTIONS else loc
    word = str(error["ctx"]["error"]).partition(" ")[0] if error["type"] == "value_error" else ""
    named = (*loc, *word.split("."))  # an error about several keys starts with the key to change
    return named if named in known else loc


def _check_search(sweep: Sweep) -> None:
    config, source = sweep.config, sweep.source
    count = len(sweep.alternatives)
    if config.run_cap is not None and count and config.run_cap < count:
        what = f"run_cap {config.run_cap} is smaller than the {count} alternatives of compare: {config.compare}"
        raise UserError(what, where=source.where(("run_cap",)), remedy=f"raise it to {count} or more")
    if config.search.enumerates:
        for parameter, _ in sweep.space.parameters():
            if isinstance(parameter, Range) and not parameter.integer and parameter.step is None:
                remedy = "give it a step, or write values: [...], or use method: auto"
                raise UserError(
                    "a grid needs a finite number of values, this range is continuous",
                    where=source.where(parameter.key),
                    remedy=remedy,
                )
    method, alternatives = config.search, max(1, count)
    method.check_installed(source.where(("method",)))
    if config.run_cap is not None and config.run_cap < (least := method.start * alternatives):
        what = f"run_cap {config.run_cap} is below the {least} trials with which method: {config.method} starts"
        remedy = f"raise it above {least}, or write method: auto"
        raise UserError(what, where=source.where(("run_cap",)), remedy=remedy)
    if config.search.enumerates and config.first:
        raise UserError(
            "first cannot be combined with a grid",
            where=source.where(("first",)),
            remedy="a grid runs every point: remove first",
        )
    first_settings(sweep)


def first_settings(sweep: Sweep) -> list[dict[str, Any]]:
    """The settings of `first:` as Optuna stores them, with the choices under which they exist.

    Raises UserError for a name or value outside the space, and for settings that exclude each other.
    """
    found = {parameter.name: (parameter, under) for parameter, under in sweep.space.parameters()}
    settings = []
    for i, entry in enumerate(sweep.config.first):
        drawn: dict[str, Any] = {}
        needed: dict[str, str] = {}
        for name, value in entry.items():
            where = sweep.source.where(("first", str(i), name))
            if name not in found:
                raise UserError(f"'{name}' is not a searched parameter", where=where, remedy=did_you_mean(name, found))
            parameter, under = found[name]
            try:
                drawn[name] = parameter.stored(value)
            except ValueError:
                remedy = f"it is {parameter}"
                raise UserError(f"{show(value)} is not in the space of '{name}'", where=where, remedy=remedy) from None
            for choice, label in under.items():
                if entry.get(choice, needed.setdefault(choice, label)) != label:
                    remedy = f"add {choice}: {label}, or remove it"
                    raise UserError(f"'{name}' exists only under {choice}: {label}", where=where, remedy=remedy)
        settings.append({**needed, **drawn})
        try:
            sweep.trial(Fixed(settings[-1]))
        except ValidationError as error:
            what, remedy = describe_error(first_error(error), root=TrialConfig)
            raise UserError(what, where=sweep.source.where(("first", str(i))), remedy=remedy) from None
    return settings


def load_trial(path: Path) -> TrialConfig:
    """Read a trial's config.yaml; raises UserError."""
    source = read_source(path)
    if "parameters" in source.values:
        what, remedy = "is a sweep file, not a trial's config.yaml", f"hwcls sweep {shell_word(path)}"
        raise UserError(what, where=str(path), remedy=remedy)
    try:
        return TrialConfig.from_recorded(use_copied_source(source.values, path.parent))
    except ValidationError as error:
        first = first_error(error)
        what, remedy = describe_error(first, TrialConfig.model_fields, TrialConfig)
        raise UserError(what, where=source.where(_key_path(first, source.places)), remedy=remedy) from None
