"""The remedy for what the operating system refuses, by its reason."""

from __future__ import annotations

import errno
import os
from pathlib import Path

IN_THE_WAY = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY)
REMEDIES = {
    **dict.fromkeys(IN_THE_WAY, "choose another path, or move what exists there"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space"),
    errno.ENOENT: "check the path",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EMFILE: "raise the limit of open files: ulimit -n",
}


def remedy_for(error: OSError) -> str:
    """What helps against an error that names a file; empty where only the message is known."""
    path = Path(os.fsdecode(error.filename))
    if error.errno in (errno.EACCES, errno.EPERM):
        return _remedy_for_permission(path)
    if error.errno == errno.EROFS:
        return f"copy {path.parent} to a disk that can be written, or choose another path"
    return REMEDIES.get(error.errno or 0, "")


def _remedy_for_permission(path: Path) -> str:
    """Names what must be readable or writable: the file, or a folder above it."""
    for folder in reversed(path.absolute().parents):
        if not os.access(folder, os.X_OK):
            return f"make {folder} readable, or choose another path"
    if os.path.lexists(path) and not os.access(path, os.R_OK):
        return "make it readable"
    results = any((folder / "sweep.yaml").is_file() for folder in path.absolute().parents)
    return f"make {path.parent} writable, or {'copy the results' if results else 'choose another path'}"
