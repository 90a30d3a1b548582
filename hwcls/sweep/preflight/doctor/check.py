"""The result of one check, and how a process of its own reports it: as a line of JSON."""

from __future__ import annotations

import json
import sys
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


def write_check(check: Check) -> None:
    """Print a check at once: its process may crash in the next one."""
    sys.stdout.write(json.dumps(check.to_dict()) + "\n")
    sys.stdout.flush()


def read_checks(output: str) -> list[Check]:
    """The checks in what a process has printed."""
    return [Check(**json.loads(line)) for line in output.splitlines() if line.startswith("{")]
