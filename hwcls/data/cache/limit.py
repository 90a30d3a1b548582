"""How much the cache may take: decoded images, indexes and features; the least recently used are removed first.

What a process uses is never removed, and downloads and imports never are: they may be the user's only copy.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from hwcls.data.cache import leases
from hwcls.data.catalog import cache_folder
from hwcls.data.progress import ProgressReporter
from hwcls.errors import UserError
from hwcls.format import BYTE_UNITS, format_bytes

LIMIT = "HWCLS_CACHE_LIMIT"
SHARE = 20  # percent of the disk, where LIMIT is not set
STORES, INDEXES, FEATURES = "stores", "index", "features"
PARTIAL = re.compile(r"\.(.+)\.partial")  # a store whose decoding was interrupted, with the name that it is for
UNFINISHED = re.compile(r"\.(.+)\.\d+\.tmp")  # a folder that is being built or removed, with the name that it is for


@dataclass(frozen=True)
class Entry:
    """A decoded data set, an index, or the features of a data set for one backbone, in the cache."""

    path: Path
    bytes: int
    used: float  # seconds since 1970
    side: int | None = None  # of decoded images

    @property
    def kind(self) -> str:
        """STORES, INDEXES or FEATURES."""
        return self.path.parent.name

    @property
    def data_set(self) -> str:
        """Its name."""
        unfinished = PARTIAL.fullmatch(self.path.name)
        name = unfinished[1] if unfinished else self.path.name
        return name.rpartition("-")[0] or name

    def __str__(self) -> str:
        kind = {INDEXES: " (index)", FEATURES: " (features)"}.get(self.kind, "")
        side = f" {self.side} x {self.side}" if self.side else ""
        if PARTIAL.fullmatch(self.path.name):
            side = " (decoded in part)"
        return f"{self.data_set}{kind or side} ({format_bytes(self.bytes)})"


def cache_limit() -> int:
    """The bytes that decoded images, indexes and features may take: HWCLS_CACHE_LIMIT, or a fifth of the disk.

    Raises:
        UserError: HWCLS_CACHE_LIMIT is no size.
    """
    text = os.environ.get(LIMIT, "").strip() or f"{SHARE}%"
    units = {unit.casefold(): 1000**power for power, unit in enumerate(BYTE_UNITS)}
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%|[a-z]*)", text.casefold())
    unit = found[2] if found else ""
    if found and unit == "%" and float(found[1]) <= 100:
        return int(float(found[1]) / 100 * shutil.disk_usage(_existing(cache_folder())).total)
    if found is None or (unit not in units and unit):
        raise UserError(f"'{text}' is no size", where=LIMIT, remedy="write 50GB, 500MB or 20%")
    return int(float(found[1]) * units.get(unit, 1))


def unfinished_folder(store: Path) -> Path:
    """Where a store is built; it stays there when its decoding is interrupted."""
    return store.with_name(f".{store.name}.partial")


def list_entries() -> list[Entry]:
    """All decoded data sets, indexes and features, the least recently used first."""
    found = []
    for part in (STORES, INDEXES, FEATURES):
        for path in _children(cache_folder() / part):
            if not path.name.startswith(".") or PARTIAL.fullmatch(path.name):
                found.append(Entry(path, tree_bytes(path), leases.last_use(path), _side(path)))
    return sorted(found, key=lambda entry: (entry.used, entry.path))


def make_room(needed: int, report: ProgressReporter) -> None:
    """Remove what was used least recently until `needed` more bytes fit below the limit and on the disk.

    What was removed is reported in one line; that the limit is passed, since all else is in use, in another.
    """
    folder = cache_folder() / STORES
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".room.lock"):
        unfinished = _drop_leftovers()
        entries, limit = list_entries(), cache_limit()
        used = unfinished + sum(entry.bytes for entry in entries)
        removed = []
        for entry in entries:
            if used + needed <= limit and shutil.disk_usage(folder).free >= needed:
                break
            if leases.remove_unused(entry.path):
                used -= entry.bytes
                removed.append(entry)
    if removed:
        why = f"to stay below {format_bytes(limit)} ({LIMIT} sets it)"
        report(f"cache: removed {', '.join(map(str, removed))}, used least recently, {why}")
    if used + needed > limit:
        what = f"{format_bytes(used + needed)}, more than its limit of {format_bytes(limit)} ({LIMIT} sets it)"
        report(f"cache: takes {what}; nothing else can be removed")


def remove_entries(name: str | None = None) -> tuple[list[Entry], list[Entry]]:
    """Remove decoded images, indexes and features of a data set, or of all: those removed, and those in use.

    Raises:
        UserError: There are none of that name.
    """
    entries = [entry for entry in list_entries() if name in (None, entry.data_set)]
    if name is not None and not entries:
        known = sorted({entry.data_set for entry in list_entries()})
        remedy = f"there are those of {', '.join(known)}" if known else "the cache is empty"
        raise UserError(f"no decoded images or features of '{name}'", where=str(cache_folder()), remedy=remedy)
    _drop_leftovers()
    gone = [entry for entry in entries if leases.remove_unused(entry.path)]
    return gone, [entry for entry in entries if entry not in gone]


def describe_cache() -> str:
    """How much decoded images and features take of what they may, in one line."""
    total, limit = format_bytes(sum(entry.bytes for entry in list_entries())), format_bytes(cache_limit())
    return f"decoded images and features take {total} of at most {limit} in {cache_folder()} ({LIMIT} sets it)"


def tree_bytes(path: Path) -> int:
    """What all files below a folder, or a file, take on the disk; what cannot be read counts nothing."""
    if not path.is_dir() or path.is_symlink():
        return _size(path)
    return sum(_size(Path(folder, name)) for folder, _, names in os.walk(path) for name in names)


def _drop_leftovers() -> int:
    """Remove what killed processes left unfinished; the bytes of what is being built now."""
    building = 0
    for path in [path for part in (STORES, FEATURES) for path in _children(cache_folder() / part)]:
        if unfinished := UNFINISHED.fullmatch(path.name):
            try:
                with FileLock(path.with_name(f".{unfinished[1]}.lock"), timeout=0):  # held by whoever builds it
                    leases.remove(path)
            except (Timeout, OSError):
                building += tree_bytes(path)
    return building


def _side(path: Path) -> int | None:
    """The side of a store's images; None of what is damaged, or none."""
    try:
        return int(json.loads((path / "meta.json").read_text("utf-8"))["image_size"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _children(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(folder.iterdir())
    except OSError:  # there is none
        return


def _size(path: Path) -> int:
    try:
        found = path.lstat()
        return min(found.st_size, 512 * found.st_blocks)  # files of features are sparse
    except OSError:  # removed meanwhile
        return 0


def _existing(path: Path) -> Path:
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
