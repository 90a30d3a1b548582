"""Raw data as found on disk, before decoding: images, labels, and where their bytes are."""

from __future__ import annotations

import mmap
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from hwcls.errors import UserError

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".gif", ".tif", ".tiff")


class Tree(Protocol):
    """A folder or an archive: file names with `/`, and their bytes."""

    where: str
    names: list[str]

    def read(self, name: str) -> bytes:
        """The bytes of one file; safe to call from several threads."""


@dataclass(frozen=True)
class Encoded:
    """Images that are still files of `tree`, in order."""

    tree: Tree
    names: list[str]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class RawSplit:
    """One split: decoded pixels (N, H, W, C) uint8 or encoded files, and labels (N,) int64."""

    images: np.ndarray | Encoded
    labels: np.ndarray


@dataclass(frozen=True)
class Raw:
    """A data set before decoding; `splits` holds train, test and perhaps val."""

    classes: tuple[str, ...]
    splits: dict[str, RawSplit]


class FolderTree:
    """The files below a folder, sorted, hidden ones left out; links are followed."""

    def __init__(self, root: Path) -> None:
        self.where = str(root)
        self.root = root
        self.names = [name for name, _ in walk(root)]

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        return (self.root / name).read_bytes()


class ZipTree:
    """The files of a zip archive, read in place: nothing is extracted.

    Raises:
        UserError: The archive is truncated or not a zip.
    """

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        try:
            with zipfile.ZipFile(path) as archive:
                self._members = {info.filename: info for info in archive.infolist() if not info.is_dir()}
        except (zipfile.BadZipFile, OSError) as error:
            raise UserError(f"not a whole zip archive ({error})", where=str(path), remedy="get it again") from None
        self.names = list(self._members)
        with open(path, "rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def read(self, name: str) -> bytes:
        """The bytes of one member, checked by its CRC; without zipfile's lock, so that threads decode side by side."""
        info = self._members[name]
        header = self._bytes[info.header_offset : info.header_offset + 30]
        start = (
            info.header_offset + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        )
        data = self._bytes[start : start + info.compress_size]
        if info.compress_type == zipfile.ZIP_DEFLATED:
            inflate = zlib.decompressobj(-15)
            data = inflate.decompress(data, info.file_size + 1)  # bounded by what the directory promises
        elif info.compress_type != zipfile.ZIP_STORED:
            raise OSError("compressed in a way other than deflate")
        if len(data) != info.file_size or zlib.crc32(data) != info.CRC:
            raise OSError("its checksum is wrong")
        return data


def walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every file below `root` as (name, stat), sorted by name; hidden files and folders are left out."""
    stack = [(root, "")]
    found = []
    while stack:
        folder, prefix = stack.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                try:
                    status = entry.stat()
                except OSError as error:
                    raise UserError(f"cannot be read ({error.strerror})", where=entry.path) from None
                if stat.S_ISDIR(status.st_mode):
                    stack.append((Path(entry.path), f"{prefix}{entry.name}/"))
                else:
                    found.append((prefix + entry.name, status))
    yield from sorted(found, key=lambda pair: pair[0])


def open_tree(path: Path) -> Tree:
    """A folder or a zip archive as a Tree; raises UserError when it is neither."""
    return FolderTree(path) if path.is_dir() else ZipTree(path)


@contextmanager
def open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """A tar archive whose members are read by name, never extracted; a truncated one is a UserError."""
    try:
        with tarfile.open(path) as archive:
            yield archive
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise UserError(f"not a whole tar archive ({error})", where=str(path), remedy="get it again") from None


def is_image(name: str) -> bool:
    """Whether a file's ending is that of an image."""
    return name.lower().endswith(IMAGE_ENDINGS)
