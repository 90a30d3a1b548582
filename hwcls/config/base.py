"""The base class of every config: frozen, strict, without unknown keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """An immutable config that rejects unknown keys and values of a wrong type.

    The description, the bounds and the unit of each field are what `hwcls explain-key` and the schema say of the key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


class Labelled(Frozen):
    """A config that can be an alternative of a `choice`, with the label of the drawn alternative."""

    label: str | None = None


@dataclass(frozen=True)
class Unit:
    """The unit of a field, as a part of its annotation."""

    name: str


Epochs = Annotated[int, Unit("epochs")]
Pixels = Annotated[int, Unit("pixels")]
