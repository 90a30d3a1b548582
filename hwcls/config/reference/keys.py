"""Every key of a sweep file, with the field of the config class that describes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import Field, create_model
from pydantic.fields import FieldInfo

from hwcls.config.annotations import config_classes
from hwcls.config.base import Frozen

DRAWN = "parameters"  # the section whose keys can be searched


@dataclass(frozen=True)
class Key:
    """A key, as one type of its section has it."""

    path: tuple[str, ...]  # in the file, without choices and labels: ("parameters", "optimizer", "lr")
    owner: str  # the type, where the section or one that holds it has several: "sgd"; else ""
    cls: type[Frozen]  # the config class of its section
    default: Any  # PydanticUndefined where the key is required

    @property
    def name(self) -> str:
        """The key itself."""
        return self.path[-1]

    @property
    def section(self) -> str:
        """The dotted path of what holds it; "" at the top."""
        return ".".join(self.path[:-1])

    @property
    def field(self) -> FieldInfo:
        """What the config class says of it."""
        return self.cls.model_fields[self.name]

    @property
    def classes(self) -> dict[str, type[Frozen]]:
        """The config classes of a section by the name that selects them, as `section_classes`; {} for a value."""
        return section_classes(self.field)


def section_classes(field: FieldInfo) -> dict[str, type[Frozen]]:
    """The config classes that a field may hold, by the name that selects them; a single class has the name ''."""
    from hwcls.config.sweep import EARLY_STOPPING, EarlyStopping, SweepConfig

    found = config_classes(field.annotation)
    if found == {"": EarlyStopping}:  # the base class of all rules
        return dict(EARLY_STOPPING.all())
    if field is SweepConfig.model_fields["trackers"]:
        return {"": _trackers()}
    return found


@cache
def _trackers() -> type[Frozen]:
    """`trackers` as a section with a key for each tracker that has settings."""
    from hwcls.config.sweep import TRACKERS

    fields: dict[str, Any] = {}
    for name, spec in TRACKERS.all().items():
        if spec.settings.model_fields:
            about = (spec.settings.__doc__ or "").partition("\n\n")[0]
            fields[name] = spec.settings | None, Field(None, description=about)
    return create_model("Trackers", __base__=Frozen, __doc__="Settings of trackers.", **fields)


@cache
def sweep_keys() -> tuple[Key, ...]:
    """Every key of a sweep file, sections too: the top of the file first, then the settings of a trial."""
    from hwcls.config.sweep import SweepConfig
    from hwcls.config.trial import DRAWN_SECTIONS, TrialConfig

    drawn = (key for key in _walk(TrialConfig, (DRAWN,), "", None) if key.path[1] in DRAWN_SECTIONS)
    return (*_walk(SweepConfig, (), "", None), *drawn)


def _walk(cls: type[Frozen], path: tuple[str, ...], owner: str, given: Frozen | None) -> Iterator[Key]:
    """The keys of a class and of those in it; `given` has the defaults where they are not the class's own."""
    for name, field in cls.model_fields.items():
        if name == "label":  # set by a choice
            continue
        default = field.get_default(call_default_factory=True) if given is None else getattr(given, name)
        key = Key((*path, name), owner, cls, default)
        yield key
        for kind, one in key.classes.items():
            inner = default if isinstance(default, one) else None
            yield from _walk(one, key.path, kind if len(key.classes) > 1 else owner, inner)
