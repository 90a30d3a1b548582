"""Folders below the cache, and the space on their disk."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from hwcls.errors import UserError


def make_cache_folder(folder: Path) -> None:
    """Create `folder`, below HWCLS_CACHE; raises UserError where it cannot be created."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remedy = "set HWCLS_CACHE to a folder that you may write"
        raise UserError(f"cannot be created ({error.strerror})", where=str(folder), remedy=remedy) from None


def free_bytes(folder: Path) -> int:
    """What is left of the disk of `folder`."""
    return shutil.disk_usage(folder).free


def check_free_space(folder: Path, needed: int) -> None:
    """Raise UserError unless the disk of `folder` has `needed` bytes."""
    if free_bytes(folder) < needed:
        raise disk_full_error(folder, needed)


def disk_full_error(folder: Path, needed: int | None = None) -> UserError:
    """The error of a full disk; `needed` where it is known."""
    what = "the disk is full" if needed is None else f"the disk is full: {needed:,} bytes are needed"
    return UserError(what, where=str(folder), remedy="free some space, or set HWCLS_CACHE to another disk")


def is_disk_full(error: BaseException) -> bool:
    """Whether `error` means that a disk or a quota is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
