"""The features of one split in one view, on the disk: a row counts only if its checksum is right.

`<name>.npy` holds (M, F) float16, sparse on the disk, and `<name>.crc.npy` the checksum of each row, (M,) uint32, 0
where it is not computed. A row is written before its checksum, so that a crash loses only the rows in work. They are
written without a memory map, which a full disk would end with SIGBUS.
"""

from __future__ import annotations

import fcntl
import io
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from filelock import FileLock

from hwcls.files import open_atomic

BLOCK = 64  # rows that are claimed together
CHECKED = 4096  # rows at once


@dataclass(frozen=True)
class Claim:
    """Missing rows (n,) that no other process computes until `release` is called or this process ends."""

    file: FeatureFile
    rows: np.ndarray
    blocks: tuple[int, ...]

    def release(self) -> None:
        """Let others compute what has not been written."""
        for block in self.blocks:
            self.file.unlock(block)


class FeatureFile:
    """Features of all images of a split in one view, of which any number may be there.

    Args:
        path: Of the features; the checksums and the locks lie beside it.
        count: M, the images of the split.
    """

    _intact: ClassVar[dict[Path, np.ndarray]] = {}  # (M,) bool by path: the rows that this process has checked

    def __init__(self, path: Path, count: int) -> None:
        self.path, self.count = path, count
        self._opened: tuple[np.ndarray, np.ndarray] | None = None
        self._locks: int | None = None  # an open file

    def read(self) -> np.ndarray | None:
        """(M, F) float16, memory-mapped, read-only: all rows but the `missing` ones are right; None: none is there."""
        found = self._open()
        return None if found is None else found[0]

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Those of `rows` that are not computed, or damaged; each row is checked once per process."""
        if (found := self._open()) is None:
            return rows
        features, checksums = found
        intact = self._intact.setdefault(self.path, np.zeros(self.count, bool))
        unchecked = rows[(checksums[rows] != 0) & ~intact[rows]]
        for start in range(0, len(unchecked), CHECKED):
            some = unchecked[start : start + CHECKED]
            intact[some] = _checksums(features[some]) == checksums[some]
        left: np.ndarray = rows[(checksums[rows] == 0) | ~intact[rows]]
        return left

    def count_pending(self, rows: np.ndarray) -> int:
        """How many of `rows` are not computed; whether the others are damaged is not looked at."""
        found = self._open()
        return len(rows) if found is None else int(np.count_nonzero(found[1][rows] == 0))

    def create(self, width: int) -> None:
        """Make the files for rows of `width` features, unless they are there and complete; raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".create")):
            for path, shape, kind in ((self.path, (self.count, width), "<f2"), (self._crc, (self.count,), "<u4")):
                header, size = _header(shape, kind), int(np.prod(shape)) * int(kind[-1])
                if _starts_with(path, header):
                    os.truncate(path, len(header) + size)  # zeros in place of what was cut off
                else:
                    _allocate(path, header, size)
        self._opened = None

    def write(self, rows: np.ndarray, features: np.ndarray) -> None:
        """Store the features (n, F) float16 of some rows; raises OSError."""
        features = np.ascontiguousarray(features)
        checksums = _checksums(features)
        _write_rows(self.path, rows, features)
        _write_rows(self._crc, rows, checksums)
        self._intact.setdefault(self.path, np.zeros(self.count, bool))[rows] = True

    def claims(self, rows: np.ndarray, least: int) -> Iterator[Claim | None]:
        """Claims of `least` rows or a few more, until none of `rows` is missing; None: others compute all that is left.

        Each claim is to be released.
        """
        left = {int(part[0]) // BLOCK: part for part in _split_blocks(rows)}
        while left:
            claimed: dict[int, np.ndarray] = {}
            found = False
            for block, inside in list(left.items()):
                if not len(self.missing(inside)):
                    del left[block]
                elif self._lock(block):
                    del left[block]
                    if not len(missing := self.missing(inside)):  # another process has computed them meanwhile
                        self.unlock(block)
                        continue
                    claimed[block] = missing
                    if sum(map(len, claimed.values())) >= least:
                        yield self._claim(claimed)
                        claimed, found = {}, True
            if claimed:
                yield self._claim(claimed)
            elif left and not found:
                yield None

    def unlock(self, block: int) -> None:
        """Give up a block of rows."""
        if self._locks is not None:
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, block)

    def close(self) -> None:
        """Give up all blocks of rows."""
        if self._locks is not None:
            os.close(self._locks)
            self._locks = None

    @property
    def _crc(self) -> Path:
        return self.path.with_suffix(".crc.npy")

    def _open(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The features and the checksums, memory-mapped; what other processes write is seen."""
        if self._opened is None:
            try:
                features, checksums = (
                    np.load(path, mmap_mode="r", allow_pickle=False) for path in (self.path, self._crc)
                )
            except (OSError, ValueError, EOFError):  # missing or truncated
                return None
            shaped = features.ndim == 2 and len(features) == self.count == len(checksums) and checksums.ndim == 1
            if not shaped or (features.dtype, checksums.dtype) != (np.float16, np.uint32):
                return None
            self._opened = features, checksums
        return self._opened

    def _claim(self, claimed: dict[int, np.ndarray]) -> Claim:
        return Claim(self, np.concatenate(list(claimed.values())), tuple(claimed))

    def _lock(self, block: int) -> bool:
        """Lock one byte of a file for a block of rows, until this process ends; False: another process has it."""
        if self._locks is None:
            self._locks = os.open(self.path.with_suffix(".locks"), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, block)
        except (BlockingIOError, PermissionError):
            return False
        return True


def _split_blocks(rows: np.ndarray) -> list[np.ndarray]:
    """Ascending rows, by the block that they are in."""
    return np.split(rows, np.flatnonzero(np.diff(rows // BLOCK)) + 1) if len(rows) else []


def _checksums(rows: np.ndarray) -> np.ndarray:
    """(n,) uint32 CRC-32 of rows (n, F), 1 where it is 0, which stands for a row that is not computed."""
    return np.maximum(np.fromiter(map(zlib.crc32, rows.view(np.uint8)), np.uint32, len(rows)), 1)


def _header(shape: tuple[int, ...], kind: str) -> bytes:
    """The start of a .npy of this shape and kind of numbers."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue()


def _starts_with(path: Path, header: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(header)) == header
    except FileNotFoundError:
        return False


def _allocate(path: Path, header: bytes, size: int) -> None:
    """A .npy of zeros, which take no room on the disk."""
    with open_atomic(path) as file:
        file.write(header)
        file.truncate(len(header) + size)


def _write_rows(path: Path, rows: np.ndarray, values: np.ndarray) -> None:
    """Write `values` (n, ...) at some rows of a .npy, a run of rows at once."""
    width = values[:1].nbytes
    with open(path, "r+b", buffering=0) as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        first = file.tell()
        for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) != 1) + 1):
            file.seek(first + int(rows[run[0]]) * width)
            left = memoryview(values[run[0] : run[-1] + 1].data).cast("B")
            while left:
                left = left[file.write(left) :]
