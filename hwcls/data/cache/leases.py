"""Which folders of the cache are in use, and since when none was: a file beside each, locked by those who use it.

The system releases a lock however its process ends. The files stay when their folder is removed: two processes must
never lock two files of one name.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from pathlib import Path

MOST = 64  # that a process holds, the latest ones: each is an open file
_held: dict[Path, int] = {}  # open files, until this process ends; the latest last
_guard = threading.Lock()


def hold(folder: Path) -> None:
    """Keep `folder`, which need not exist yet, from being removed while this process lives, and note its use.

    Where nothing can be written nobody can remove it either.
    """
    with _guard:
        try:
            if folder not in _held:
                _held[folder] = os.open(_lease(folder), os.O_RDWR | os.O_CREAT, 0o666)
                fcntl.flock(_held[folder], fcntl.LOCK_SH)  # waits for a removal, which takes milliseconds
            _held[folder] = _held.pop(folder)
            os.utime(_held[folder])
            while len(_held) > MOST:
                os.close(_held.pop(next(iter(_held))))
        except OSError:
            return


def last_use(folder: Path) -> float:
    """When `folder` was last opened, in seconds since 1970; as far as that is known."""
    found = 0.0
    for path in (_lease(folder), folder):
        try:
            found = max(found, path.stat().st_mtime)
        except OSError:
            continue
    return found


def remove_unused(folder: Path) -> bool:
    """Remove a folder or file of the cache, at once or not at all; False where a process uses it or it is not ours."""
    gone = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        with open(_lease(folder), "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.replace(folder, gone)
    except OSError:
        return not folder.exists()
    remove(gone)
    return True


def remove(path: Path) -> None:
    """Remove a folder or a file, as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _lease(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lease")
