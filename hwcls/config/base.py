"""The base class of every config: frozen, strict, without unknown keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """An immutable config that rejects unknown keys and values of a wrong type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


class Labelled(Frozen):
    """A config that can be an alternative of a `choice`, with the label of the drawn alternative."""

    label: str | None = None
