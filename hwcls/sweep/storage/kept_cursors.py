"""Cursors of trackers that a working copy keeps while the storage replaces it: a sync command continues them here."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import IO

from hwcls import files
from hwcls.sweep.storage.environment import ENVIRONMENT, read_started
from hwcls.sweep.storage.object_store import Store
from hwcls.tracking.cursor import merge

CURSOR = re.compile(r"wandb/cursor\.jsonl|mlflow/cursor-\w+\.jsonl")  # of servers: MLflow's own database is replaced


def find_kept(local: Path, store: Store, objects: Collection[str]) -> list[str]:
    """The cursors of a working copy, none where the storage has another sweep, which took its name."""
    found = [f"{path.parent.name}/{path.name}" for path in local.glob("*/cursor*.jsonl")]
    here = local / ENVIRONMENT
    if not found or ENVIRONMENT not in objects or not here.is_file():
        return []
    started = read_started(here.read_bytes())
    is_same = started is not None and started == read_started(store.read(ENVIRONMENT))
    return [name for name in found if is_same and CURSOR.fullmatch(name)]


def merge_kept(local: Path, store: Store, objects: Collection[str], name: str) -> None:
    """Have a cursor of the working copy know what that of the storage does."""
    merged = merge((local / name).read_bytes(), store.read(name) if name in objects else b"")
    files.write_with(local / name, partial(_write, merged))


def _write(content: bytes, file: IO[bytes]) -> None:
    file.write(content)
