"""Trials that do not count: excluded by a user, or outside of what the sweep file searches since it was changed.

Nothing of them is deleted. The changes are kept in sweep.yaml itself, so that a crash leaves the file and what is said
of it both before the change or both after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hwcls import files
from hwcls.escape import printable
from hwcls.reading import read_json, read_or_none, read_yaml, report_damage
from hwcls.tracking.shapes import ChangesShape, ExcludedShape

EXCLUDED = "excluded.json"  # in a trial's folder
CONFIRM = "hwcls confirm"  # as the record of changes names it
CHANGES = "x-changes"  # in sweep.yaml; sweep files may have any key that begins with x-


@dataclass(frozen=True)
class LeftOut:
    """Why a trial does not count."""

    why: str
    when: str | None = None  # a user excluded it; None: the sweep file does not search its settings any more

    @property
    def by_user(self) -> bool:
        return self.when is not None

    def __str__(self) -> str:
        return f"excluded: {self.why}" if self.by_user else self.why


def now() -> str:
    """The time as the records have it: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_changes(settings: Mapping[str, Any], path: Path | None = None) -> ChangesShape:
    """What a sweep.yaml says of its changes; nothing where it has none, or where they are damaged.

    Args:
        settings: The values of the file.
        path: The file, to name it where they are damaged.
    """
    try:
        return ChangesShape.model_validate(settings.get(CHANGES) or {})
    except ValidationError:
        if path is not None:
            report_damage(path, f"has damaged {CHANGES}")
        return ChangesShape()


def find_left_out(sweep: Path, settings: Mapping[str, Any] | None = None) -> dict[int, LeftOut]:
    """The trials of a sweep's folder that do not count, by number; `settings`: of its sweep.yaml, where known."""
    file = sweep / "sweep.yaml"
    if settings is None:
        settings = read_or_none(read_yaml, file) or {}
    found = {number: LeftOut(printable(why)) for number, why in read_changes(settings, file).outside.items()}
    for mark in sweep.glob(f"trials/*/{EXCLUDED}"):
        if mark.parent.name.isdecimal():
            values = read_or_none(read_json, mark, ExcludedShape) or {"why": "no recorded reason"}
            found[int(mark.parent.name)] = LeftOut(printable(str(values["why"])), str(values.get("when", "")))
    return dict(sorted(found.items()))


def exclude(trial: Path, why: str) -> None:
    """Mark a trial's folder: it does not count from now on."""
    files.write_json(trial / EXCLUDED, {"why": why, "when": now()})


def include(trial: Path) -> None:
    """Remove the mark of `exclude`."""
    (trial / EXCLUDED).unlink(missing_ok=True)
    files.sync_folder(trial)
