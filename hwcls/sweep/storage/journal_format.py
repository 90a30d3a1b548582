"""The lines of study.journal, read without Optuna: one JSON object each, as its JournalStorage writes them."""

from __future__ import annotations

import json
from collections.abc import Container
from typing import Any

CREATED, STATE = 4, 6  # Optuna's JournalOperation: a trial's creation, a trial's new state
ENDED = (1, 2, 3)  # Optuna's TrialState: complete, pruned, failed
BORROWED = "from"  # the user attribute of a trial borrowed from another sweep: its results folder
LEFT_OUT = "left_out"  # the user attribute of a trial that does not count: why
RANKED = "ranked"  # the user attribute of a study whose sampler ranks trials within their alternative


def drop_ends(content: bytes, running: Container[int]) -> bytes:
    """The journal without the ends of the trials of these numbers; borrowed trials come first and have no number."""
    kept, borrowed = [], 0
    for line in content.splitlines(keepends=True):
        log = _parse(line, CREATED) or _parse(line, STATE)
        if log.get("op_code") == CREATED:
            borrowed += BORROWED in log.get("user_attrs", {})
        elif log.get("state") in ENDED and log["trial_id"] - borrowed in running:
            continue
        kept.append(line)
    return b"".join(kept)


def _parse(line: bytes, operation: int) -> dict[str, Any]:
    """The line's values if it is of that operation; others, the most, are not parsed."""
    if not line.startswith(b'{"op_code":%d,' % operation) or not line.endswith(b"\n"):  # truncated by a crash
        return {}
    values: dict[str, Any] = json.loads(line)
    return values


COSTS = "costs"  # of a trial: the values of the further metrics, where there are several
