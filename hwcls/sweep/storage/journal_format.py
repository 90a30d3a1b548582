"""The lines of study.journal, read without Optuna: one JSON object each, as its JournalStorage writes them."""

from __future__ import annotations

import json
from collections.abc import Container
from typing import Any

CREATED, STATE = 4, 6  # Optuna's JournalOperation: a trial's creation, a trial's new state
ENDED = (1, 2, 3)  # Optuna's TrialState: complete, pruned, failed
MARK = "from"  # the user attribute of a trial borrowed from another sweep: where it was run


def without_ends(content: bytes, running: Container[int]) -> bytes:
    """A journal in which the trials of these numbers still run; borrowed ones come first and have no number."""
    kept, borrowed = [], 0
    for line in content.splitlines(keepends=True):
        log = _of(line, CREATED) or _of(line, STATE)
        if log.get("op_code") == CREATED:
            borrowed += MARK in log.get("user_attrs", {})
        elif log.get("state") in ENDED and log["trial_id"] - borrowed in running:
            continue
        kept.append(line)
    return b"".join(kept)


def _of(line: bytes, operation: int) -> dict[str, Any]:
    """The line's values where it is of that operation; most are not, and need not be parsed."""
    if not line.startswith(b'{"op_code":%d,' % operation) or not line.endswith(b"\n"):  # torn by a crash
        return {}
    values: dict[str, Any] = json.loads(line)
    return values
