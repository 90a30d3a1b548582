"""Cursor: what a tracker has delivered, kept on disk so that a restarted process can continue."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwcls import files
from hwcls.tracking.json_lines import read_lines

if TYPE_CHECKING:
    from hwcls.tracking.tracker import RunInfo


def _is_entry(line: dict[str, Any]) -> bool:
    return isinstance(line.get("identity"), str) or (
        isinstance(line.get("run"), str) and isinstance(line.get("entry"), dict)
    )


class Cursor:
    """One entry per run in a cursor.jsonl; each line holds the values of one entry that changed.

    `identity`, in the first line, is drawn once per sweep folder: another sweep of the same name gets other run ids.
    After a damaged first line all runs are delivered again, under a new identity.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._runs: dict[str, dict[str, Any]] = {}
        first, *changes = list(read_lines(path, _is_entry)) or [{}]
        if "identity" not in first:
            first, changes = {"identity": secrets.token_hex(8)}, []
            files.write_text(path, json.dumps(first) + "\n")
        self.identity = str(first["identity"])
        for change in changes:
            if "run" in change:
                self._runs[change["run"]] = self.get(change["run"]) | change["entry"]

    def get(self, key: str) -> dict[str, Any]:
        """The entry of a run, {} when it was never started."""
        return dict(self._runs.get(key, {}))

    def update(self, key: str, **entry: Any) -> None:
        """Change some values of a run's entry; `status` and `lines` are those that `is_delivered` looks at."""
        self._runs[key] = self.get(key) | entry
        files.append_line(self._path, json.dumps({"run": key, "entry": entry}).encode())

    def is_delivered(self, run: RunInfo) -> bool:
        """Whether the run has ended, and its result and every line of metrics.jsonl were delivered."""
        entry, result = self.get(run.key), run.folder.result()
        if result is None or entry.get("status") != result.status:
            return False
        return bool(entry.get("lines") == len(run.folder.records()))
