"""The files of a folder, a zip or a tar archive, read in place: nothing is ever extracted."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import mmap
import os
import re
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from hwcls.data import disk
from hwcls.data.formats.image_types import DANGLING, SPECIAL, LeftOut
from hwcls.errors import UserError, unreadable

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
DECOMPRESS: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
MAX_FILE = 1 << 28  # bytes of one unpacked file; more counts as a bomb
DEEPEST = 100  # folders around a file; with a thousand, reading would end at the recursion limit
MAX_RATIO = 200  # unpacked to packed bytes of an archive; more counts as a bomb
METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz", 96: "JPEG", 97: "WavPack", 98: "PPMd"}
JUNK = ("__macosx", "thumbs.db", "desktop.ini", "icon\r", "@eadir", "$recycle.bin")  # of other systems, in any case

RESULTS = ("sweep.yaml", ".lock")  # the files that each sweep's results folder has from its start on


class FileTree(Protocol):
    """A folder or an archive: file names with `/`, and their bytes; hidden files are left out."""

    where: str
    names: list[str]  # sorted, so that a data set's images have one order, however they are packed
    no_files: dict[str, LeftOut]  # links to nothing, pipes, sockets and devices

    def read(self, name: str) -> bytes:
        """The bytes of one file; safe to call from several threads; OSError when they cannot be read."""

    def size(self, name: str) -> int:
        """How many bytes `read` gives; OSError when that cannot be known."""

    def folders(self, below: str = "") -> list[str]:
        """The names of the folders right below `below` ("" or "a/b/"), also empty ones, sorted."""


Walk = Callable[[Path, dict[str, LeftOut]], Iterator[tuple[str, os.stat_result]]]


class FolderTree:
    """The files below a folder; links are followed. `walk` lists them, `walk_files` by default."""

    def __init__(self, root: Path, walk: Walk | None = None) -> None:
        self.where = str(root)
        self.root = root
        self.no_files: dict[str, LeftOut] = {}
        self.names = [name for name, _ in (walk or walk_files)(root, self.no_files)]

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        return read_limited(self.root / name)

    def size(self, name: str) -> int:
        """How many bytes a file has."""
        return (self.root / name).stat().st_size

    def folders(self, below: str = "") -> list[str]:
        """The names of the folders right below `below`."""
        place = self.root / below
        found = place.iterdir() if place.is_dir() else ()
        return sorted(path.name for path in found if path.is_dir() and not _is_hidden(path.name) and not _is_ours(path))


class _Archive:
    """Common to zip and tar: names that stay inside, and folders derived from names."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self.names: list[str] = []
        self.no_files: dict[str, LeftOut] = {}
        self._folders: set[str] = set()

    def folders(self, below: str = "") -> list[str]:
        """The names of the folders right below `below`."""
        depth = below.count("/")
        return sorted(f.split("/")[depth] for f in self._folders if f.startswith(below) and f.count("/") == depth)

    def _add(self, name: str, *, folder: bool) -> str | None:
        """Note a member; its clean name, or None for a folder and for what is hidden."""
        _check_name(name, self.where)
        above, _, last = name.rpartition("/")
        if not folder and above in self._folders and last and not _is_hidden(last) and "\\" not in last:
            return name  # in the folder of a clean one, as most are
        clean = name.replace("\\", "/")
        parts = [part for part in clean.split("/") if part not in ("", ".")]
        if clean.startswith("/") or re.match("[A-Za-z]:", clean) or ".." in parts:
            raise UserError(
                f"its member '{name}' leaves the archive's folder", where=self.where, remedy="do not use it"
            )
        if not parts or any(map(_is_hidden, parts)):
            return None
        if len(parts) > DEEPEST:
            what = f"its member '{name[:40]}...' lies {len(parts):,} folders deep"
            raise UserError(what, where=self.where, remedy="do not use it")
        deep = len(parts) if folder else len(parts) - 1
        self._folders.update("/".join(parts[:depth]) for depth in range(1, deep + 1))
        return None if folder else "/".join(parts)

    def _refuse(self, what: str) -> UserError:
        return UserError(what, where=self.where, remedy="unpack it yourself and give the folder")

    def _check_ratio(self, unpacked: int) -> None:
        if unpacked > MAX_RATIO * os.path.getsize(self.where) + MAX_FILE:
            raise UserError(f"unpacks to {unpacked:,} bytes: a zip bomb", where=self.where, remedy="do not use it")


class ZipTree(_Archive):
    """The files of a zip archive.

    Raises:
        UserError: The archive is truncated, not a zip, encrypted, a bomb, or has a member that leaves its folder.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise UserError(f"not a readable zip archive ({error})", where=str(path), remedy="get it again") from None
        self._check_ratio(sum(info.file_size for info in members))
        self._members = {}
        for info in members:
            if stat.S_ISLNK(info.external_attr >> 16):
                raise self._refuse(f"its member '{info.filename}' is a link")
            if info.flag_bits & 1:
                raise self._refuse("it is encrypted")
            if name := self._add(_utf8_name(info), folder=info.is_dir()):
                self._members[name] = info
        self._check_methods()
        self.names = sorted(self._members)
        with open(path, "rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def _check_methods(self) -> None:
        """Raise UserError where members are compressed in a way that `read` does not know."""
        other = [i for i in self._members.values() if i.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]
        if other:
            method = METHODS.get(other[0].compress_type, f"method {other[0].compress_type}")
            verb = "is" if len(other) == 1 else "are"
            raise self._refuse(f"{len(other):,} of its {len(self._members):,} files {verb} compressed by {method}")

    def read(self, name: str) -> bytes:
        """The bytes of one member, checked by its CRC; without zipfile's lock, so that threads decode in parallel."""
        info = self._members[name]
        if info.file_size > MAX_FILE:
            raise OSError(f"unpacks to {info.file_size:,} bytes")
        header = self._bytes[info.header_offset : info.header_offset + 30]
        start = (
            info.header_offset + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        )
        data = self._bytes[start : start + info.compress_size]
        if info.compress_type == zipfile.ZIP_DEFLATED:
            inflate = zlib.decompressobj(-15)
            try:
                data = inflate.decompress(data, info.file_size + 1)  # bounded by what the directory promises
            except zlib.error as error:
                raise OSError(str(error)) from None
        if len(data) != info.file_size or zlib.crc32(data) != info.CRC:
            raise OSError("its checksum is wrong")
        return data

    def size(self, name: str) -> int:
        """How many bytes a member unpacks to, as the directory says."""
        return self._members[name].file_size


class TarTree(_Archive):
    """The files of a tar archive; a compressed one is first unpacked into an unnamed temporary file.

    Raises:
        UserError: The archive is truncated, not a tar, a bomb, or has a member that is a link or leaves its folder.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._members = {}
        try:
            with self._plain(path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    if not (member.isdir() or member.isfile()) or member.issparse():
                        raise self._refuse(f"its member '{member.name}' is a link or no plain file")
                    if name := self._add(member.name, folder=member.isdir()):
                        self._members[name] = (member.offset_data, member.size)
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError, ValueError) as error:
            if disk.is_disk_full(error):
                where = tempfile.gettempdir()
                raise UserError("the disk is full", where=where, remedy="free some space, or set TMPDIR") from None
            raise UserError(f"not a readable tar archive ({error})", where=str(path), remedy="get it again") from None
        self.names = sorted(self._members)

    def read(self, name: str) -> bytes:
        """The bytes of one member."""
        start, size = self._members[name]
        if size > MAX_FILE:
            raise OSError(f"unpacks to {size:,} bytes")
        return self._bytes[start : start + size]

    def size(self, name: str) -> int:
        """How many bytes a member has."""
        return self._members[name][1]

    @contextmanager
    def _plain(self, path: Path) -> Iterator[IO[bytes]]:
        with open(path, "rb") as file:
            unpack = DECOMPRESS.get(file.read(2))
        if unpack is None:
            with open(path, "rb") as file:
                yield file
            return
        with unpack(path) as packed, tempfile.TemporaryFile() as file:
            while block := packed.read(1 << 20):
                file.write(block)
                self._check_ratio(file.tell())
            file.seek(0)
            yield file


def open_tree(path: Path) -> FileTree:
    """A folder, a zip or a tar archive as a FileTree; raises UserError when it is none of them."""
    if path.is_dir():
        return FolderTree(path)
    if path.exists() and not path.is_file():
        raise UserError("is a pipe, a device or a socket", where=str(path), remedy="save it as a file")
    if not is_archive(path):
        raise UserError("neither a folder nor an archive", where=str(path), remedy=f"known: {', '.join(ARCHIVES)}")
    return ZipTree(path) if path.name.lower().endswith(".zip") else TarTree(path)


def is_archive(path: Path) -> bool:
    """Whether `path` is a file with an archive's ending."""
    return path.name.lower().endswith(ARCHIVES) and path.is_file()


def may_contain(path: Path, *names: str) -> bool:
    """Whether `path` is an archive that contains one of `names`, or one that must be read to find out."""
    if not is_archive(path):
        return False
    if not path.name.lower().endswith(".zip") or not zipfile.is_zipfile(path):
        return True
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        end = data.rfind(b"PK\x05\x06")
        size = int.from_bytes(data[end + 12 : end + 16], "little")  # of the directory; parsing it takes a second
        start = max(end - size - 100, 0)  # zip64 has records in between
        return any(data.find(name.encode(), start) >= 0 for name in names)


def find_files(tree: FileTree, wanted: list[str]) -> dict[str, str]:
    """The paths in `tree` of the `wanted` file names, in whatever folder; missing ones are left out."""
    found = {name.rsplit("/", 1)[-1]: name for name in reversed(tree.names)}
    return {name: found[name] for name in wanted if name in found}


def read_limited(path: Path) -> bytes:
    """The bytes of a file; OSError for more than MAX_FILE of them."""
    if (size := path.stat().st_size) > MAX_FILE:
        raise OSError(f"has {size:,} bytes")
    return path.read_bytes()


def read_required_file(tree: FileTree, name: str) -> bytes:
    """The bytes of a required file; raises UserError when they cannot be read."""
    try:
        return tree.read(name)
    except OSError as error:
        raise UserError(f"cannot be read ({error})", where=f"{tree.where}/{name}", remedy="get it again") from None


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in JUNK


def _is_results(folder: str) -> bool:
    """Whether a folder holds the results of a sweep of hwcls."""
    return all(os.path.isfile(f"{folder}/{name}") for name in RESULTS)


def _is_ours(folder: Path) -> bool:
    """Whether a folder holds the results of a sweep, or of several and nothing else."""
    with os.scandir(folder) as entries:
        inner = list(entries)
    return _is_results(str(folder)) or (bool(inner) and all(one.is_dir() and _is_results(one.path) for one in inner))


def _utf8_name(info: zipfile.ZipInfo) -> str:
    """A member's name; macOS writes UTF-8 and does not say so, and zipfile reads that as the letters of old DOS."""
    if info.flag_bits & 0x800 or info.filename.isascii():
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _check_name(name: str, where: str) -> None:
    """Raise UserError where a name is not UTF-8: no file that lists it could be written."""
    if not name.isascii() and (shown := name.encode("utf-8", "backslashreplace").decode()) != name:
        raise UserError(f"the name '{shown}' is not UTF-8", where=where, remedy="rename it")


def walk_files(root: Path, no_files: dict[str, LeftOut] | None = None) -> Iterator[tuple[str, os.stat_result]]:
    """As `walk_all_files`; also raises UserError for a file whose name is not UTF-8."""
    for name, status in walk_all_files(root, no_files):
        _check_name(name, str(root))
        yield name, status


def walk_all_files(root: Path, no_files: dict[str, LeftOut] | None = None) -> Iterator[tuple[str, os.stat_result]]:
    """Every plain file below `root` as (name, stat), sorted by name.

    Hidden files and folders are left out, and so are the results of sweeps, which a sweep begun in the data's own
    folder writes there.

    Args:
        no_files: Gets the names of links to nothing, and of pipes, sockets and devices.

    Raises:
        UserError: A folder or a file that cannot be read.
    """
    found: list[tuple[str, os.stat_result]] = []
    others: dict[str, LeftOut] = {}
    stack: list[tuple[Path, str, frozenset[tuple[int, int]]]] = [(root, "", frozenset())]
    try:
        while stack:
            folder, prefix, above = stack.pop()
            own = os.stat(folder)
            if (place := (own.st_dev, own.st_ino)) in above:  # a link to a folder above would never end
                continue
            with os.scandir(folder) as entries:
                for entry in entries:
                    if _is_hidden(entry.name):
                        continue
                    try:
                        status = entry.stat()
                    except OSError as error:
                        if not entry.is_symlink() or error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
                            raise
                        others[prefix + entry.name] = DANGLING
                        continue
                    if stat.S_ISDIR(status.st_mode) and _is_results(entry.path):
                        continue
                    if stat.S_ISDIR(status.st_mode):
                        stack.append((Path(entry.path), f"{prefix}{entry.name}/", above | {place}))
                    elif stat.S_ISREG(status.st_mode):  # reading a pipe would block
                        found.append((prefix + entry.name, status))
                    else:
                        others[prefix + entry.name] = SPECIAL
    except OSError as error:
        raise unreadable(error, error.filename or root) from None
    if no_files is not None:
        no_files.update(sorted(others.items()))
    yield from sorted(found, key=lambda pair: pair[0])


def is_walked(root: Path, folder: Path) -> bool:
    """Whether `walk_files` finds the files of a folder, which need not exist: it is `root` or below it."""
    root, folder = root.resolve(), folder.resolve()
    between = [folder, *folder.parents][: len(folder.parts) - len(root.parts)]
    left_out = any(_is_hidden(one.name) or _is_results(str(one)) for one in between)
    return folder.is_relative_to(root) and not left_out
