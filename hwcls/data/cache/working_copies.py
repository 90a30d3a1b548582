"""The cache's working copies of results on shared storage, which the next start there may replace."""

from __future__ import annotations

from pathlib import Path

from hwcls.data.catalog import cache_folder
from hwcls.errors import UserError

COPIES = "results"  # the folder of the cache with the working copies


def refuse_working_copy(path: Path, remedy: str = "copy the folder elsewhere, and name that copy") -> None:
    """Raise UserError where `path` is in a working copy: what a command writes there would be lost."""
    if path.resolve().is_relative_to((cache_folder() / COPIES).resolve()):
        raise UserError("is only the local copy of results on shared storage", where=str(path), remedy=remedy)
