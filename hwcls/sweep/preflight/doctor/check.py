"""The result of one check."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """What a check found, and the remedy where that is not as it should be."""

    name: str
    state: Literal["ok", "note", "wrong"]  # wrong: a sweep will fail
    found: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        """As JSON-ready values."""
        return asdict(self)
