"""Which trials a sweep file could still draw: all that it names has the value that their config.yaml has."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from hwcls.config.remedies.values import as_yaml
from hwcls.config.space import Choice, Constant, Fixed, Group, Range, Values, same_value
from hwcls.config.sweep_file import Sweep
from hwcls.config.trial import TrialConfig
from hwcls.data.augment.defaults import spell_out, spell_out_recorded
from hwcls.errors import UserError
from hwcls.tracking.folders import TrialFolder

Key = tuple[str, ...]
# keys of `data` that a start chooses where the file leaves them open
LEFT_OPEN = {("data", name) for name in ("image_size", "channels", "interpolation", "crop_pct", "mean", "std")}


class Outside(ValueError):
    """A trial is outside of a space; the message says why."""


def find_settings(sweep: Sweep, trial: TrialFolder, dropped: Collection[str] = ()) -> dict[str, Any]:
    """The settings with which a sweep file draws a recorded trial, by Optuna's names.

    Args:
        sweep: The file.
        trial: The trial; one whose config.yaml is damaged has no settings and is not judged.
        dropped: Keys that earlier versions of the file had: their default must be what the trial has.

    Raises:
        Outside: The file cannot draw it.
    """
    try:
        recorded = _recorded(trial)
    except UserError:
        return {}
    found = _Match(recorded)
    found.group(sweep.space.root)
    try:
        drawn = spell_out(sweep.trial(Fixed(found.settings))).to_dict()
    except ValidationError:
        raise Outside("the file's other settings do not permit it") from None
    except UserError:  # a file of the user's is not here now
        drawn = {}
    for constant in found.constants:
        _compare(recorded, constant.path, _at(drawn, constant.path, constant.value))
    for key in dropped if drawn else ():
        path = _path_of(key, recorded)
        if path is not None:
            _compare(recorded, path, _at(drawn, path, None))
    return found.settings


def _recorded(trial: TrialFolder) -> dict[str, Any]:
    """config.yaml, with what the version that wrote it meant by keys that it did not have."""
    values = spell_out_recorded(trial.settings())
    try:
        return TrialConfig.from_recorded(values).to_dict()
    except ValidationError:  # of another version
        return values


class _Match:
    """Leads a recorded config through a space.

    Attributes:
        settings: The parameters on its way, by name.
        constants: The constants on its way, still to be compared.
    """

    def __init__(self, recorded: Mapping[str, Any]) -> None:
        self.recorded = recorded
        self.settings: dict[str, Any] = {}
        self.constants: list[Constant] = []

    def group(self, group: Group) -> None:
        if group.choice:
            label = self._label(group.choice)
            self.settings[group.choice.name] = label
            self.group(group.choice.branches[label])
        for child in group.children.values():
            if isinstance(child, Group):
                self.group(child)
            elif isinstance(child, Constant):
                self.constants.append(child)
            else:
                self.settings[child.name] = self._value(child)

    def _label(self, choice: Choice) -> str:
        """The label on record; of a trial from before there was a choice that of its type."""
        label = _at(self.recorded, (*choice.path, "label"), None)
        if label is None:
            name = _at(self.recorded, (*choice.path, "name"), None)
            names = {key: branch.children.get("name") for key, branch in choice.branches.items()}
            same = (key for key, own in names.items() if isinstance(own, Constant) and same_value(name, own.value))
            label = next(same, None)
        if label not in choice.branches:
            what = _at(self.recorded, (*choice.path, "name"), "?") if label is None else label
            raise Outside(f"{'.'.join(choice.path)} {what} is not in the file")
        return str(label)

    def _value(self, parameter: Values | Range) -> Any:
        missing = object()
        value = _at(self.recorded, parameter.path, missing)
        if value is missing:
            raise Outside(f"{'.'.join(parameter.path)} is not on record")
        if isinstance(parameter, Range):
            if parameter.holds(value):
                return value
        else:
            with suppress(ValueError):
                return parameter.stored(parameter.find(value))
        raise Outside(f"{'.'.join(parameter.path)} {as_yaml(value)} is not in {parameter}")


def _compare(recorded: Mapping[str, Any], path: Key, wanted: Any) -> None:
    """Raise Outside where a trial has another value than the file; what the file leaves open is no other."""
    found = _at(recorded, path, wanted)
    if not same_value(found, wanted) and not (wanted is None and path in LEFT_OPEN):
        raise Outside(f"{'.'.join(path)} is {as_yaml(found)}, in the file {as_yaml(wanted)}")


def _at(values: Mapping[str, Any], path: Key, default: Any) -> Any:
    found: Any = values
    for part in path:
        if not isinstance(found, Mapping) or part not in found:
            return default
        found = found[part]
    return found


def _path_of(key: str, recorded: Mapping[str, Any]) -> Key | None:
    """The path in a trial's config that a key under `parameters` is about; None where the trial is of another branch.

    A choice, which has no value of its own, has none either.
    """
    rest = key.partition(".")[2]
    path: Key = ()
    while rest:
        part, _, rest = rest.partition(".")
        if part != "choice":
            path = (*path, part)
            continue
        label = f"{_at(recorded, (*path, 'label'), None)}."  # which may have dots of its own
        if not rest.startswith(label):
            return None
        rest = rest.removeprefix(label)
    return path
