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
    """Optuna's journal file for one writer: nothing is read twice, and it is synced once a trial, not at each line.

    What others append, such as optuna-dashboard, is read as well.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._end = 0  # bytes of the file that the storage has read
        self._unread: list[bytes] = []  # lines that were appended here since then
        open(path, "ab").close()  # touch would change the time of one that is there

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines, each in one write."""
        for log in logs:
            line = json.dumps(log, separators=(",", ":")).encode()
            files.append_line(self.path, line, sync=False)
            self._unread.append(line + b"\n")

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The lines from a number on, which is how many the storage has read."""
        if log_number_from == 0:
            self._end = 0
        appended, self._unread = self._unread, []
        alone = os.stat(self.path).st_size == self._end + sum(map(len, appended))
        for line in appended if alone else self._lines_from(self._end):
            self._end += len(line)
            yield json.loads(line)

    def _lines_from(self, start: int) -> Iterator[bytes]:
        """The lines of the file from a byte on, without one that is being written."""
        with open(self.path, "rb") as file:
            file.seek(start)
            yield from (line for line in file if line.endswith(b"\n"))

    def sync(self) -> None:
        """Have everything that was appended survive a power cut."""
        with open(self.path, "rb") as file:
            os.fsync(file.fileno())

    def count(self) -> int:
        """How many lines there are: 0 at the first start."""
        return self.path.read_bytes().count(b"\n")
