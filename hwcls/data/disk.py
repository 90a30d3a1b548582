"""Room on a disk: asked for before the work, and told in bytes when there is none."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from hwcls.errors import UserError


def check_space(folder: Path, needed: int) -> None:
    """Raise UserError unless the disk of `folder` has `needed` bytes."""
    if shutil.disk_usage(folder).free < needed:
        raise full(folder, needed)


def full(folder: Path, needed: int | None = None) -> UserError:
    """The error of a full disk; `needed` where it is known."""
    what = "the disk is full" if needed is None else f"the disk is full: {needed:,} bytes are needed"
    return UserError(what, where=str(folder), remedy="make room, or set HWCLS_CACHE to another disk")


def is_full(error: BaseException) -> bool:
    """Whether `error` says that a disk or a quota is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
