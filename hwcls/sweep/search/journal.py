"""study.journal: the Optuna study of a sweep on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from hwcls import files


class Journal(BaseJournalBackend):
    """Optuna's journal file for one writer: nothing is read twice, and it is synced once a trial, not at each line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unread: list[bytes] = []  # lines that were appended since the storage last read
        path.touch()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines, each in one write."""
        for log in logs:
            line = json.dumps(log, separators=(",", ":")).encode()
            files.append_line(self.path, line, sync=False)
            self._unread.append(line)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The lines from a number on, which is how many the storage has read: from 0 those of the file."""
        unread, self._unread = self._unread, []
        if log_number_from > 0:
            yield from map(json.loads, unread)
            return
        with open(self.path, "rb") as file:
            yield from map(json.loads, file)

    def sync(self) -> None:
        """Have everything that was appended survive a power cut."""
        with open(self.path, "rb") as file:
            os.fsync(file.fileno())

    def count(self) -> int:
        """How many lines there are: 0 at the first start."""
        return self.path.read_bytes().count(b"\n")
