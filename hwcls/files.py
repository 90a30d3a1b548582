"""Atomic writes: temporary name, fsync, rename."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import yaml

# the numbers of YAML 1.2, as which files of the user are read; 1.1, which PyYAML writes, takes 1e-4 as text
NUMBERS = {
    "int": r"[-+]?(?:[0-9][0-9_]*|0b[01_]+|0x[0-9a-fA-F_]+)",
    "float": r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
}


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # libyaml's is ten times as fast
    """SafeDumper that puts into quotes what YAML 1.1 or 1.2 takes for something else than text."""


def add_numbers(cls: type[yaml.resolver.BaseResolver]) -> None:
    """Let a loader or dumper know the numbers of YAML 1.2."""
    for kind, form in NUMBERS.items():
        cls.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"^(?:{form})$"), list("-+.0123456789"))


add_numbers(_Dumper)


@contextmanager
def open_atomic(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file next to `path`; it is renamed to `path` only when the block ends without an error.

    An OSError names `path`, never the temporary file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):  # no name, or the temporary one
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    sync_folder(path.parent)


def check_writable(path: Path) -> None:
    """Raise the OSError of writing a file to `path`, ahead of the work for it; its folder need not exist yet."""
    if path.is_dir():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    _check_access(path.parent, path)


def check_writable_folder(path: Path) -> None:
    """As `check_writable`, for files in the folder `path`, which need not exist."""
    _check_access(path, path)


def _check_access(above: Path, below: Path) -> None:
    """Raise the OSError of making a file in a folder, or `below` in it, or what is missing of the path to it."""
    while not os.path.lexists(above):
        below, above = above, above.parent
    if not above.is_dir():
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(above))
    if not os.access(above, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(below))


def sync_folder(path: Path) -> None:
    """Make a rename in `path` survive a power failure, where the file system supports it."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, completely or not at all."""
    with open_atomic(path, "w") as file:
        file.write(text)


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, completely or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=True) + "\n")


def write_yaml(path: Path, value: object) -> None:
    """Write `value` as YAML in the order of its keys, completely or not at all."""
    write_text(path, to_yaml(value))


def to_yaml(value: object) -> str:
    """`value` as YAML in the order of its keys; `read_source` and `read_yaml` read it back unchanged."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def write_with(path: Path, save: Callable[[IO[bytes]], object]) -> None:
    """Let a library's `save(file)` write `path`, completely or not at all."""
    with open_atomic(path) as file:
        save(file)


def link(source: Path, path: Path) -> None:
    """Make `path` another name of the file `source`, at once; OSError where the file system cannot.

    Neither may be changed in place afterwards: that would change both.
    """
    if path.exists() and path.samefile(source):  # to rename one name to the other would do nothing
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    os.link(source, temporary)
    os.replace(temporary, path)


def replace_folder(new: Path, path: Path) -> None:
    """Give the folder `new` the place of `path`, whose old content is removed: a crash leaves one of them, complete.

    Where the system cannot exchange two names, a crash between two renames leaves neither.
    """
    for folder, _, names in os.walk(new):
        for name in names:
            with open(Path(folder, name), "rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(folder))
    if not os.path.lexists(path):
        os.rename(new, path)
    elif not _exchange(new, path):
        old = new.with_name(f"{new.name.removesuffix('.tmp')}.old.tmp")
        os.rename(path, old)
        os.rename(new, path)
        new = old
    sync_folder(path.parent)
    remove(new)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all it holds, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two files or folders at once, as Linux can; False where it cannot be done."""
    try:
        call = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(call(here, os.fsencode(one.absolute()), here, os.fsencode(other.absolute()), exchange) == 0)


def append_line(path: Path, line: bytes, *, sync: bool = True) -> None:
    """Append one line and fsync it; a partial line that a crash left at the end is removed first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "a+b") as file:
            _cut_partial_line(file)
            file.write(line + b"\n")
            file.flush()
            if sync:
                os.fsync(file.fileno())
    except OSError as error:  # on a full disk it has no file name
        raise OSError(error.errno, error.strerror, str(path)) from error


def cut_partial_line(path: Path) -> None:
    """Remove a partial last line, without its newline; a missing file is no error."""
    if path.exists():
        with open(path, "r+b") as file:
            _cut_partial_line(file)


def _cut_partial_line(file: IO[bytes]) -> None:
    end = file.seek(0, os.SEEK_END)
    if end == 0:
        return
    file.seek(end - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)
