"""The base of every config: frozen, strict, no unknown key."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """An immutable description that refuses unknown keys and values of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())


class Labelled(Frozen):
    """A config that may stand under `choice` and remembers the label it was drawn by."""

    label: str | None = None
