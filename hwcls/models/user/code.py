"""A user's Python file and the neighbouring files that it imports: read once, checked for trust, and run."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from hwcls.config.model import ModelFamily
from hwcls.errors import UserError, did_you_mean, unreadable
from hwcls.models.generators import fixed_generators
from hwcls.models.user import trust
from hwcls.models.user.output import bounded_output

PATIENCE = 10.0  # seconds until a line says that a user's code still runs
RESULTS = ("trials", "source", "study.journal")  # next to a sweep.yaml: it is that of a results folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class UserCode:
    """A user's file and its neighbours as they were read: exactly this is checked, and run."""

    path: Path  # of the file, absolute
    files: Mapping[str, bytes]  # by name, the file itself among them

    @property
    def checksum(self) -> str:
        """SHA-256 of all names and contents, in hexadecimal; it does not depend on the folder."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            digest.update(f"{len(name)} {name} {len(content)} ".encode() + content)
        return digest.hexdigest()


def read_code(source: Path) -> UserCode:
    """Read a file and all files of its folder that it imports, directly or not; UserError where one is missing."""
    path = source.resolve()
    files: dict[str, bytes] = {}
    waiting = [path.name]
    while waiting:
        name = waiting.pop()
        try:
            files[name] = (path.parent / name).read_bytes()
        except OSError as error:
            raise unreadable(error, source.with_name(name)) from None
        neighbours = {f"{module}.py" for module in _imported(files[name])} - files.keys()
        waiting += [neighbour for neighbour in sorted(neighbours) if (path.parent / neighbour).is_file()]
    return UserCode(path, files)


def copy_name(written: Path) -> str:
    """The name of the folder that holds the copy of a model file in the results, by its path in the sweep file."""
    # files may share a name; the path is hashed as written, since each submitted job has another working folder
    return f"{written.stem}-{hashlib.blake2b(str(written).encode(), digest_size=4).hexdigest()}"


def _imported(content: bytes) -> set[str]:
    """The top-level names that a file imports anywhere in it; none where it is no Python."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return set()  # reported when it is run
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in names}


def accept_named(models: Iterable[ModelFamily], file: Path | None = None, *, remember: bool = False) -> None:
    """Trust the code that a sweep file or a command line names, since it is the user who does.

    Args:
        models: What was named.
        file: The sweep file; that of a results folder, which may come from elsewhere, makes nothing trusted.
        remember: Also in later commands.
    """
    if file is not None and is_of_results(file):
        return
    for source in {model.source_file for model in models} - {None}:
        if source is not None and source.is_file():
            checksum = read_code(source).checksum
            trust.remember(checksum, str(source)) if remember else trust.accept(checksum)


def is_of_results(file: Path) -> bool:
    """Whether a sweep file is the sweep.yaml of a results folder."""
    return file.name == "sweep.yaml" and any((file.parent / name).exists() for name in RESULTS)


def require_trusted(name: str) -> UserCode:
    """The code that `file.py:function` names; raises UserError where it is missing or not trusted."""
    source, _, function = name.rpartition(":")
    if not Path(source).is_file():
        path = Path(source).resolve()
        near = did_you_mean(path.name, (other.name for other in path.parent.glob("*.py")))
        raise UserError(f"no model file '{source}'", where="model.name", remedy=near)
    code = read_code(Path(source))
    trust.require(source, code.checksum, function, tuple(code.files))
    return code


def call_function(name: str, settings: Mapping[str, Any]) -> Any:
    """What the function that `file.py:function` names returns for these arguments.

    While it runs the file can import the files next to it, and nothing else of its folder. Raises UserError where the
    code is missing, not trusted, fails or ends the process.
    """
    source, _, function = name.rpartition(":")
    code = require_trusted(name)
    _forbid_exit(code)
    with _neighbours(code):
        with _failing_as_error("the file failed", source):
            module = _run(code)
        found = getattr(module, function, None)
        if not callable(found):
            known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            raise UserError(f"no function '{function}'", where=source, remedy=did_you_mean(function, known))
        remedy = "it is called with classes, channels, image_size and every other key of model"
        with _failing_as_error("the model failed", name, remedy):
            return found(**settings)


def _run(code: UserCode) -> ModuleType:
    """The module of a user's file, run once for each path and content."""
    # one module name per path and content: an edited file is loaded again, and pickles of its classes resolve
    digest = hashlib.blake2b(f"{code.path} {code.checksum}".encode(), digest_size=8).hexdigest()
    name = f"hwcls_user_{code.path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = _spec(name, code, code.path.name)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    assert spec.loader is not None
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _Loader(SourceFileLoader):
    """Compiles what was read and checked: neither a later edit nor a file in __pycache__ changes what is run."""

    def __init__(self, name: str, path: str, content: bytes) -> None:
        super().__init__(name, path)
        self.content = content

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.content, self.path)

    def exec_module(self, module: ModuleType) -> None:
        with fixed_generators():  # a module is run once in a process: what it draws or seeds must not matter
            super().exec_module(module)


class _Neighbours(MetaPathFinder):
    """Finds the files next to a user's file, before any installed module of that name."""

    def __init__(self, code: UserCode) -> None:
        self.code = code

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return _spec(fullname, self.code, f"{fullname}.py") if f"{fullname}.py" in self.code.files else None


def _spec(name: str, code: UserCode, file: str) -> ModuleSpec:
    path = str(code.path.parent / file)
    spec = importlib.util.spec_from_file_location(name, path, loader=_Loader(name, path, code.files[file]))
    assert spec is not None, "a loader is given"
    return spec


@contextmanager
def _neighbours(code: UserCode) -> Iterator[None]:
    """The block can import the neighbours of a file; those of another file, or before an edit, are forgotten."""
    for name in {Path(file).stem for file in code.files} & sys.modules.keys():
        loader = getattr(sys.modules[name], "__loader__", None)
        if isinstance(loader, _Loader) and loader.content != code.files[f"{name}.py"]:
            del sys.modules[name]
    finder = _Neighbours(code)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@contextmanager
def _failing_as_error(what: str, where: str, remedy: str = "") -> Iterator[None]:
    """What a user's code raises in the block becomes a UserError; a line says when it takes long."""
    waiting = threading.Timer(PATIENCE, log.warning, ["waiting for %s, which runs for %g s now", where, PATIENCE])
    waiting.daemon = True
    waiting.start()
    try:
        with exits_as_errors(where), bounded_output():
            yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what}: {error_line(error)}", where=where, remedy=remedy) from error
    finally:
        waiting.cancel()


@contextmanager
def exits_as_errors(where: str) -> Iterator[None]:
    """Where a user's code in the block calls sys.exit or os._exit, a UserError is raised instead."""
    try:
        yield
    except SystemExit as error:
        raise UserError(f"the model ends the process: {error_line(error)}", where=where, remedy="remove that") from None


def error_line(error: BaseException) -> str:
    """The exception and the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    if frames and frames[-1].name == _raise_exit.__name__:
        frames.pop()
    at = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    if isinstance(error, SystemExit):
        status = "" if error.code is None else repr(error.code)
        return (str(error.code) if isinstance(error, _ExitCalled) else f"sys.exit({status})") + at
    return f"{type(error).__name__}: {error}{at}"


def is_raised_by_user(error: BaseException) -> bool:
    """Whether a line of a user's file that was run led to `error`."""
    return any(frame.filename in _own_files for frame in traceback.extract_tb(error.__traceback__))


class _ExitCalled(SystemExit):
    """os._exit was called by a user's code."""


_exit = os._exit
_own_files: set[str] = set()  # of users, which must not end the process


def _forbid_exit(code: UserCode) -> None:
    """From now on os._exit raises SystemExit where a user's file calls it."""
    _own_files.update(str(code.path.parent / name) for name in code.files)
    for module in {os, sys.modules.get("posix", os)}:
        module._exit = _raise_exit  # type: ignore[attr-defined]


def _raise_exit(status: int) -> None:
    if sys._getframe(1).f_code.co_filename in _own_files:
        raise _ExitCalled(f"os._exit({status})")
    _exit(status)
