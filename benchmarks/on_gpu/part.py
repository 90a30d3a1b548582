"""A part of the benchmark: some items that are measured one after the other in one process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.on_gpu.inputs import Setting

Row = dict[str, Any]


class LeftOutError(Exception):
    """An item cannot be measured here; the message is the reason."""


@dataclass(frozen=True)
class Part:
    """What a module of this package measures."""

    items: tuple[str, ...]
    measure: Callable[[str, Setting], Row]  # raises LeftOutError
    columns: dict[str, tuple[str, str]] = field(default_factory=dict)  # key: title and format; none: rows are words
    gpu_only: frozenset[str] = frozenset()  # items
