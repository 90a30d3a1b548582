"""A folder on shared storage, by its URL: s3://bucket/prefix, gs://, or any other scheme of pyarrow and fsspec."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwcls import files
from hwcls.errors import UserError
from hwcls.escape import hide_credentials

MOVING = {"local", "sftp", "ftp"}  # of fsspec: a file that is opened there to be written is empty at once


@dataclass(frozen=True)
class Store:
    """Objects below a prefix; every call raises OSError where the storage does not respond."""

    filesystem: Any  # of pyarrow
    prefix: str

    def _path(self, name: str) -> str:
        return f"{self.prefix}/{name}"

    def list_objects(self) -> list[str]:
        """The names of all objects."""
        from pyarrow.fs import FileSelector, FileType

        with _errors_of_storage():
            found = self.filesystem.get_file_info(FileSelector(self.prefix, recursive=True, allow_not_found=True))
        names = [entry.path[len(self.prefix) + 1 :] for entry in found if entry.type == FileType.File]
        return [name for name in names if not name.endswith(".tmp")]  # what a killed driver was writing

    def list_folders(self) -> list[str]:
        """The names of the folders at the top."""
        from pyarrow.fs import FileSelector, FileType

        with _errors_of_storage():
            found = self.filesystem.get_file_info(FileSelector(self.prefix, allow_not_found=True))
        return [entry.base_name for entry in found if entry.type == FileType.Directory]

    def read(self, name: str) -> bytes:
        """An object's content."""
        with _errors_of_storage(), self.filesystem.open_input_stream(self._path(name)) as stream:
            return bytes(stream.read())

    def write(self, name: str, content: bytes) -> None:
        """Write an object, completely or not at all; a file system with folders that does not move may leave a part."""
        from pyarrow.fs import LocalFileSystem

        path = self._path(name)
        with _errors_of_storage():
            if isinstance(self.filesystem, LocalFileSystem):
                files.write_with(Path(path), lambda file: file.write(content))
            elif not self._write_and_move(path, content):
                self._write(path, content)

    def _write_and_move(self, path: str, content: bytes) -> bool:
        """Write under another name and move it, where that replaces a file at once; False where it was not done."""
        moving = _moving(self.filesystem)
        if moving is None:
            return False
        temporary, moved = f"{path}.{secrets.token_hex(4)}.tmp", False
        try:
            self._write(temporary, content)
            with contextlib.suppress(Exception):  # of any library: some servers refuse to replace a file
                moving.mv(temporary, path)
                moved = True
        finally:
            if not moved:
                with contextlib.suppress(Exception):
                    self.filesystem.delete_file(temporary)
        return moved

    def _write(self, path: str, content: bytes) -> None:
        try:
            stream = self.filesystem.open_output_stream(path)
        except FileNotFoundError:  # a file system with folders
            self.filesystem.create_dir(path.rpartition("/")[0], recursive=True)
            stream = self.filesystem.open_output_stream(path)
        with stream:
            stream.write(content)

    def download(self, name: str, target: Path) -> None:
        """Copy an object to a file."""
        content = self.read(name)
        files.write_with(target, lambda file: file.write(content))

    def delete(self, name: str) -> None:
        """Delete an object if it exists."""
        with contextlib.suppress(FileNotFoundError), _errors_of_storage():
            self.filesystem.delete_file(self._path(name))

    def delete_folder(self, name: str) -> None:
        """Delete all objects below a name."""
        with contextlib.suppress(FileNotFoundError), _errors_of_storage():
            self.filesystem.delete_dir(self._path(name))


def _moving(filesystem: Any) -> Any:
    """The file system of fsspec that replaces a file when it moves another to its name; None for others."""
    inner = getattr(getattr(filesystem, "handler", None), "fs", None)
    protocols = getattr(inner, "protocol", ())
    return inner if MOVING & set((protocols,) if isinstance(protocols, str) else protocols) else None


@contextlib.contextmanager
def _errors_of_storage() -> Iterator[None]:
    """Make errors of any library, such as those that fsspec's file systems raise, an OSError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def short_reason(error: Exception) -> str:
    """What an error says, in 160 characters; keys of its URLs are hidden first, as half of one would be shown."""
    return hide_credentials(" ".join(str(error).split()))[:160]


def is_url(results: str) -> bool:
    """Whether a results option names shared storage and not a local folder."""
    return "://" in results


def join_url(url: str, name: str) -> str:
    """The URL of a folder in another one; options of the storage stay at the end: s3://bucket/NAME?region=us-east-1."""
    folder, mark, options = url.partition("?")
    return f"{folder.rstrip('/')}/{name}{mark}{options}"


def split_url(url: str) -> tuple[str, str]:
    """The two parts that `join_url` takes."""
    folder, mark, options = url.partition("?")
    parent, _, name = folder.rstrip("/").rpartition("/")
    return f"{parent}{mark}{options}", name


def open_store(url: str) -> Store:
    """The folder at a URL, for example `s3://bucket/prefix`.

    Raises:
        UserError: No file system is known for it.
        OSError: The storage does not respond, or has no such bucket.
    """
    from pyarrow import ArrowInvalid
    from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem

    try:
        filesystem, path = FileSystem.from_uri(url)
    except ArrowInvalid:  # none of Arrow's own
        try:
            import fsspec

            opened, path = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            what = f"cannot be opened ({short_reason(error)})"
            raise UserError(what, where=url, remedy="name a folder, or s3://bucket/prefix") from None
        filesystem = PyFileSystem(FSSpecHandler(opened))
    return Store(filesystem, path.rstrip("/"))
