"""study.journal: the Optuna study of a sweep on disk."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend

from hwcls import files


class Journal(JournalFileBackend):
    """Optuna's journal file for one writer: synced to disk once a trial instead of at each of its twenty lines."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines, each in one write."""
        for log in logs:
            files.append_line(self.path, json.dumps(log, separators=(",", ":")).encode(), sync=False)

    def sync(self) -> None:
        """Have everything that was appended survive a power cut."""
        with open(self.path, "rb") as file:
            os.fsync(file.fileno())

    def count(self) -> int:
        """How many lines there are: 0 at the first start."""
        return self.path.read_bytes().count(b"\n")
