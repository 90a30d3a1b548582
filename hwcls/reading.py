"""Reads files that hwcls wrote: one that was damaged since is named in one line, and the rest is read."""

from __future__ import annotations

import functools
import json
import logging
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hwcls.errors import UserError, unreadable

if TYPE_CHECKING:
    from pydantic import TypeAdapter

log = logging.getLogger(__name__)

T = TypeVar("T")
Mapping = dict[str, Any]
_reported: set[str] = set()


class DamagedFile(UserError):
    """A file that is there, but does not hold what hwcls wrote."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"is damaged ({reason})", where=str(path), remedy="restore it from a copy")


class UnreadableFile(DamagedFile):
    """A file that may hold what hwcls wrote, but that this user may not read."""

    def __init__(self, path: Path, error: PermissionError) -> None:
        found = unreadable(error, path)
        UserError.__init__(self, found.what, where=found.where, remedy=found.remedy)


def read_file(path: Path, parse: Callable[[bytes], T], offset: int = 0) -> T:
    """What `parse` makes of a file's content from `offset` on; whatever it raises means that the file is damaged.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedFile: It cannot be read, or does not hold what it should.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise DamagedFile(path, "a pipe or a device")
            file.seek(offset)
            content = file.read()
    except PermissionError as error:
        raise UnreadableFile(path, error) from None
    except OSError as error:
        if isinstance(error, (FileNotFoundError, NotADirectoryError)) and not path.is_symlink():
            raise FileNotFoundError(error.errno, error.strerror, str(path)) from None
        raise DamagedFile(path, "a link to nothing" if path.is_symlink() else _describe(error)) from None
    with damage_named(path):
        return parse(content)


def _open_at_once(path: str, flags: int) -> int:
    """Opens a pipe as well, where an ordinary open would wait for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Whatever a library raises in the block, which reads `path`, becomes DamagedFile."""
    try:
        yield
    except Exception as error:
        raise DamagedFile(path, _describe(error)) from None


def read_json(path: Path, shape: Any = Mapping) -> Any:
    """The value of a JSON file, of the type `shape` (any that pydantic checks); raises as `read_file` does."""
    return read_file(path, lambda content: checked(json.loads(content), shape))


def read_yaml(path: Path, shape: Any = Mapping) -> Any:
    """The value of a YAML file, as `read_json`."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, ten times as fast, where PyYAML has it
    return read_file(path, lambda content: checked(yaml.load(content.decode("utf-8"), Loader=loader), shape))


def read_or_none(read: Callable[..., T], path: Path, *arguments: Any) -> T | None:
    """`read(path, *arguments)`; None where the file is missing, and with one line in the log where it is damaged."""
    try:
        return read(path, *arguments)
    except FileNotFoundError:
        return None
    except DamagedFile as error:
        report_damage(path, str(error.what))
        return None


def report_damage(path: Path, what: str) -> None:
    """Log that the reader does without (a part of) a file: once for each file until `forget_reports`."""
    if str(path) not in _reported:
        _reported.add(str(path))
        log.warning("%s %s; it is left out", path, what)


def forget_reports() -> None:
    """Report everything again, as a new command does."""
    _reported.clear()


def checked(value: Any, shape: Any) -> Any:
    """`value` itself; raises ValueError unless it is of the type `shape`, without conversions."""
    _adapter(shape).validate_python(value, strict=True)
    return value


@functools.cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(shape)


def _describe(error: Exception) -> str:
    """The reason in a few words, without the path, which the message begins with."""
    import yaml
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        if not first["loc"] and first["type"] in ("dict_type", "model_type"):
            return "not a mapping"
        key = ".".join(map(str, first["loc"]))
        return f"{key}: {first['msg']}" if key else str(first["msg"])
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8 text"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, yaml.YAMLError):
        return f"not YAML: {getattr(error, 'problem', None) or error}"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} in line {error.lineno}" if error.doc else "it is empty"
    return " ".join(f"{error or type(error).__name__}".split())[:120]
