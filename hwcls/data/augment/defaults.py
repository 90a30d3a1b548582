"""Which augmentation a trial has where its settings name none: the data set's default.

Known data sets have the usual one for them. Images of one's own have none: hwcls cannot know what makes their class.
A flip turns a left arrow into a right one, a rotation a 6 into a 9, another colour a ripe fruit into an unripe one;
erasing, cutmix and a narrow crop may remove the only part that tells. A shift by a few pixels (`crop`) keeps nearly
every class, but not one that is decided at the border. So each is asked for, and config.yaml spells out what was used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hwcls.config.data import AugmentConfig
from hwcls.config.trial import TrialConfig, with_recorded_split
from hwcls.data.catalog import DATA_SETS, USER_LAYOUT

EARLIER_OWN = AugmentConfig(hflip=True)  # version 0.1's for images of one's own, which it did not record


def default_augment(name: str, *, earlier: bool = False) -> AugmentConfig:
    """The default of a data set, which need not be on this machine; `earlier`: that of version 0.1."""
    spec = DATA_SETS[name if name in DATA_SETS.names() else USER_LAYOUT]
    return EARLIER_OWN if earlier and spec.user_files else spec.augment


def spell_out(config: TrialConfig, *, earlier: bool = False) -> TrialConfig:
    """The trial with its augmentation in full, where it left that to the data set.

    `earlier`: its config.yaml is what version 0.1 wrote, or it belongs to a sweep that this version began.
    """
    if config.data.augment is not None:
        return config
    augment = default_augment(config.data.name, earlier=earlier)
    return config.model_copy(update={"data": config.data.model_copy(update={"augment": augment})})


def spell_out_recorded(config: dict[str, Any]) -> dict[str, Any]:
    """The values of a config.yaml, with what version 0.1 did not write into it."""
    config = with_recorded_split(config)
    data = config.get("data")
    if isinstance(data, dict) and data.get("augment") is None:
        augment = default_augment(str(data.get("name")), earlier=True).model_dump(mode="json")
        return {**config, "data": {**data, "augment": augment}}
    return config


def describe_augment(augment: AugmentConfig | Mapping[str, Any]) -> str:
    """An augmentation in the words of a sweep file: "crop 4, hflip"."""
    found = AugmentConfig.model_validate(augment).model_dump(exclude_defaults=True, exclude={"label"})
    return ", ".join(name if value is True else f"{name} {value:g}" for name, value in found.items()) or "none"


def summarise_augments(trials: Iterable[TrialConfig]) -> list[dict[str, Any]]:
    """The augmentations among some trials: `data`, `label`, whether it `is_default`, and all `settings`.

    A setting that is searched has the list of its values, at least both ends of a range.
    """
    found: dict[tuple[str, str | None, bool], list[dict[str, Any]]] = {}
    for trial in trials:
        augment = spell_out(trial).data.augment
        assert augment is not None, "spell_out fills it"
        key = (trial.data.title, augment.label, trial.data.augment is None)
        found.setdefault(key, []).append(augment.model_dump(mode="json", exclude={"label"}))
    summary = []
    for (title, label, is_default), every in found.items():
        values = {field: sorted({one[field] for one in every}) for field in every[0]}
        settings = {field: some[0] if len(some) == 1 else some for field, some in values.items()}
        summary.append({"data": title, "label": label, "is_default": is_default, "settings": settings})
    return summary


def format_augment(entry: Mapping[str, Any]) -> str:
    """An entry of `summarise_augments` in a line: "cifar10: crop 4, hflip (the data set's default)"."""
    settings = entry["settings"]
    fixed = {name: value for name, value in settings.items() if not isinstance(value, list)}
    words = [f"{name} {' or '.join(map(str, value))}" for name, value in settings.items() if name not in fixed]
    if any(fixed.values()) or not words:
        words.insert(0, describe_augment(fixed))
    label = f", {entry['label']}" if entry["label"] else ""
    return f"{entry['data']}{label}: {', '.join(words)}" + (" (the data set's default)" if entry["is_default"] else "")
