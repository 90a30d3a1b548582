"""Temporary folders that only their user can read, and that the next start removes where a killed process left them."""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hwcls.errors import UserError

PREFIX = "s-"  # of each folder in the root
LOCK = ".lock"
COMMON = ("/tmp", "/var/tmp")  # where else they may be
LEAST_FREE = 50 * 2**20  # bytes: Ray's logs of a sweep take some megabytes
SOCKET_LIMIT = 103  # bytes of a Unix socket's path on macOS; Linux has 107


@dataclass(frozen=True)
class TemporaryFolder:
    """A folder that counts as in use until every process that has `descriptor` open has ended or closed it."""

    path: Path
    descriptor: int  # for subprocess's pass_fds; it holds the lock

    def remove(self) -> None:
        """Remove it with all its content."""
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


_OWN: list[TemporaryFolder] = []  # of this process, once it needs one


def open_folder(longest: int | None = None) -> TemporaryFolder:
    """Create a folder of mode 0700, whatever the umask; removes the abandoned ones beside it.

    Args:
        longest: The most bytes that its path may have.

    Raises:
        UserError: There is no place for it.
    """
    root = find_root(longest)
    with _locked(root / LOCK):  # no other start takes the new folder for an abandoned one
        _remove_abandoned(root)
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
        path.chmod(0o700)
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return TemporaryFolder(path, descriptor)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """An empty folder in one of `open_folder`, both removed at the end of the block."""
    folder = open_folder()
    try:
        content = folder.path / "content"
        content.mkdir(0o700)
        yield content
    finally:
        folder.remove()


@contextlib.contextmanager
def own_temporary_files() -> Iterator[None]:
    """Temporary files made in the block, as W&B does at its import, are in a folder that goes when the process ends."""
    if not _OWN:
        _OWN.append(open_folder())
        atexit.register(_OWN[0].remove)
    before, tempfile.tempdir = tempfile.tempdir, str(_OWN[0].path)
    try:
        yield
    finally:
        tempfile.tempdir = before


def find_root(longest: int | None = None) -> Path:
    """This user's folder for temporary folders, created with mode 0700: hwcls-<uid> in TMPDIR, else in /tmp.

    Args:
        longest: The most bytes that the path of a folder in it may have.

    Raises:
        UserError: None can be written, or none has so short a path.
    """
    problems = []
    for place in _places():
        root = place / f"hwcls-{os.geteuid()}"
        length = len(os.fsencode(root / f"{PREFIX}12345678"))
        if longest is not None and length > longest:
            problems.append(f"{place} has too long a path")
            continue
        try:
            if shutil.disk_usage(place).free < LEAST_FREE:
                raise OSError(errno.ENOSPC, "the disk is full")
            _make_private(root)
            return root
        except OSError as error:
            problems.append(f"{place}: {(error.strerror or type(error).__name__).lower()}")
    what = f"no folder for temporary files: {'; '.join(problems)}"
    raise UserError(what, remedy="set TMPDIR to a folder with a short path that you may write")


def _places() -> list[Path]:
    """Where temporary files may be, without repetitions; XDG_RUNTIME_DIR is small, in memory, and last."""
    named = [os.environ.get(name, "") for name in ("TMPDIR", "TEMP", "TMP")]
    last = os.environ.get("XDG_RUNTIME_DIR", "")
    every = [*named, *COMMON, last]
    return [Path(place) for place in dict.fromkeys(every) if os.path.isabs(place) and os.path.isdir(place)]


def _make_private(root: Path) -> None:
    """Create `root` or check that it belongs to this user alone; raises OSError."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(root, 0o700)
    found = os.lstat(root)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(0, f"{root.name} in it belongs to someone else")
    if stat.S_IMODE(found.st_mode) != 0o700:
        os.chmod(root, 0o700)
    if not os.access(root, os.W_OK):
        raise PermissionError(errno.EROFS, os.strerror(errno.EROFS))


def _remove_abandoned(root: Path) -> None:
    """Remove the folders whose lock no process holds; the caller holds the lock of `root`."""
    for folder in root.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
