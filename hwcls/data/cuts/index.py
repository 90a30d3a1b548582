"""The index of a user's images: their names, groups and copies, found once and kept in the cache.

`index/<name>-<key>.npz` below HWCLS_CACHE, the key that of the raw files and their layout, whatever the image size.
Found are files of the same bytes and near copies: re-encoded, resized, brighter or of less contrast, slightly cropped,
stamped, mirrored.
Images that look alike by nature need to be more alike, and of those that look too much alike, as handwritten digits,
and of small ones only files of the same bytes and of the same pixels are copies: see `near`.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock

from hwcls import files
from hwcls.config.data import DataConfig
from hwcls.data import catalog, disk
from hwcls.data.cache import leases
from hwcls.data.cache.limit import INDEXES
from hwcls.data.cuts.cut import Listing
from hwcls.data.formats.raw import EncodedImages, RawData
from hwcls.data.progress import ProgressMeter, ProgressReporter
from hwcls.data.store import data_key, read_raw_data, verify_command
from hwcls.format import format_count

FORMAT = 3  # raised when what is found changes
KEPT = 100_000  # pairs that are named
VARIED = 8  # grey levels: an image that varies less is alike only as a file


@dataclass(frozen=True, eq=False)
class ImageIndex:
    """What the cut of a split needs to know of all N images of a data set, split by split.

    Attributes:
        counts: The images of each split, in order.
        names: (N,) str.
        classes: (N,) str, the label of each image.
        groups: (N,) str, "" for no group; None: there are none.
        copies: (N,) int64, equal for copies.
        conflicts: (P, 2) places of copies that have different labels; mirrored ones do not count.
        alike: How many images look too much alike to tell copies from others.
        exact: Why only exact copies are found; "": near ones are too.
    """

    counts: Mapping[str, int]
    names: np.ndarray
    classes: np.ndarray
    groups: np.ndarray | None
    copies: np.ndarray
    conflicts: np.ndarray
    alike: int = 0
    exact: str = ""

    def rows(self, split: str) -> slice:
        """Where the images of a split are."""
        start = 0
        for name, count in self.counts.items():
            if name == split:
                return slice(start, start + count)
            start += count
        raise KeyError(split)

    def listing(self, config: DataConfig) -> Listing:
        """The training images of `config`, and notes on copies that do not look right."""
        train = self.rows("train")
        groups = None if self.groups is None else self.groups[train]
        plain = config.model_copy(update={"interpolation": None, "crop_pct": None})  # copies are the same in any way
        notes = [f"{line}; `{verify_command(plain)}` names them" for line in self._describe_copies()]
        duplicates: Literal["near", "exact"] = "exact" if self.exact else "near"
        return Listing(self.names[train].tolist(), self.copies[train], groups, duplicates, (*self._limits(), *notes))

    def describe(self) -> list[str]:
        """What was not looked for, a line about copies with different labels, and one for each given split with copies
        of training images."""
        return [*self._limits(), *self._describe_copies()]

    def _limits(self) -> list[str]:
        notes = [f"near copies are not looked for, only exact ones: {self.exact}"] if self.exact else []
        if self.alike:
            what = f"{self.alike:,} images look much alike, as those of a camera that never moves"
            notes.append(f"{what}: only equal ones stay together; name what belongs together by data.layout.group")
        return notes

    def _describe_copies(self) -> list[str]:
        lines, near = [], "exact" if self.exact else "near"
        if len(self.conflicts):
            such = " and ".join(f"{self.names[place]} ({self.classes[place]})" for place in self.conflicts[0])
            lines.append(
                f"{near} copies with different labels: {format_count(len(self.conflicts), 'pair')}, such as {such}"
            )
        pairs = self.across()
        for split in self.counts:
            rows = self.rows(split)
            some = pairs[(pairs[:, 0] >= rows.start) & (pairs[:, 0] < rows.stop)]
            if len(some):
                first, second = self.names[some[0]]
                share = f"{len(some):,} of {self.counts[split]:,}"
                lines.append(f"{near} copies of training images in {split}: {share}, such as {first} of {second}")
        return lines

    def across(self) -> np.ndarray:
        """(P, 2) places: each image of val and test that is a copy of a training image, and the first such."""
        train = self.rows("train")
        known, first = np.unique(self.copies[train], return_index=True)
        at = np.searchsorted(known, self.copies)
        found = known[np.minimum(at, len(known) - 1)] == self.copies
        found[train] = False
        places = np.flatnonzero(found)
        return np.stack([places, train.start + first[at[places]]], 1)

    def named_pairs(self) -> dict[str, list[list[str]]]:
        """The names of `conflicts` and of `across`, pair by pair."""
        return {"conflicts": self.names[self.conflicts].tolist(), "across": self.names[self.across()].tolist()}


def find_copies(config: DataConfig, report: ProgressReporter | None = None) -> ImageIndex | None:
    """The index of a user's own images, also where no split is cut; None where near copies do not count."""
    return open_index(config, report) if compares_images(config) else None


def describe_copies(config: DataConfig, report: ProgressReporter | None = None) -> tuple[str, ...]:
    """Notes on copies that do not look right, where a sweep looks for them since it cuts a split."""
    index = find_copies(config, report)
    return index.listing(config).notes if index is not None and {"val", "test"} - set(index.counts) else ()


def compares_images(config: DataConfig) -> bool:
    """Whether near copies count where a split is cut: of a user's own images, unless exact ones are asked for."""
    return config.duplicates == "near" and catalog.find_data_set(config.name).user_files


def has_index(config: DataConfig) -> bool:
    """Whether this node has the index of `config`'s images."""
    return _path(config).exists()


def open_index(config: DataConfig, report: ProgressReporter | None = None) -> ImageIndex:
    """The index of `config`'s images, made now if this node has none.

    Raises:
        UserError: The raw data is missing or damaged, or an image cannot be read.
    """
    path = _path(config)
    leases.hold(path)  # which notes its use: the cache removes what was used least recently
    if found := _load(path):
        return found
    disk.make_cache_folder(path.parent)
    leases.hold(path)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if found := _load(path):
            return found
        made = make_index(config.title, read_raw_data(config), report or (lambda _: None))
        _save(path, made)
    return made


def _path(config: DataConfig) -> Path:
    return catalog.cache_folder() / INDEXES / f"{data_key(config)}.npz"


def make_index(title: str, raw: RawData, report: ProgressReporter) -> ImageIndex:
    """The index of image files; raises UserError where one cannot be read."""
    images = raw.image_files
    assert images is not None, "a user's own images are files"
    labels = np.concatenate([part.labels for part in raw.splits.values()])
    groups = None if raw.groups is None else np.concatenate([raw.groups[split] for split in raw.splits])
    copies, conflicts, alike, exact = _find_copies(title, images, labels, report)
    counts = {split: len(part.labels) for split, part in raw.splits.items()}
    classes = np.array(raw.classes)[labels]
    return ImageIndex(counts, np.array(images.names), classes, groups, copies, conflicts[:KEPT], alike, exact)


def _find_copies(
    title: str, images: EncodedImages, labels: np.ndarray, report: ProgressReporter
) -> tuple[np.ndarray, np.ndarray, int, str]:
    """The attributes `copies`, `conflicts`, `alike` and `exact` of an index."""
    # loads torch and PIL, which an index that is there does not need
    from hwcls.data.cuts.features import describe_images, reduce_images
    from hwcls.data.cuts.near import SMALL, find_pairs, find_threshold, join_copies, mirror, part_large
    from hwcls.data.decoding.decode import sample_sizes

    meter = ProgressMeter(report, f"{title}: copies", len(images), "images compared")
    reduced, digests = reduce_images(images, meter)
    pixels = reduced.reshape(len(reduced), -1)
    varied = np.flatnonzero(pixels.max(1) - pixels.min(1) >= VARIED)
    _, first, place = np.unique(pixels[varied], axis=0, return_index=True, return_inverse=True)
    kept = varied[first]
    described = describe_images(reduced[kept])
    side, threshold, exact = sample_sizes(images).short_side, None, ""
    if side < SMALL:
        exact = f"the images are too small for them ({side} pixels)"
    elif (threshold := find_threshold(described, labels[kept])) is None:
        exact = "too many of the images look alike; name what belongs together by data.layout.group"
    pairs, alike = np.empty((0, 2), np.int64), np.empty(0, np.float32)
    if threshold is not None:
        pairs, alike = find_pairs(np.concatenate([described, describe_images(mirror(reduced[kept]))]), threshold)
    mirrored = (pairs[:, 0] < len(kept)) != (pairs[:, 1] < len(kept))
    same_pixels = np.stack([kept[place.ravel()], varied], 1)
    _, first, place = np.unique(digests, return_index=True, return_inverse=True)
    same_file = np.stack([first[place], np.arange(len(digests))], 1)
    equal = np.concatenate([same_pixels, same_file])
    pairs = np.concatenate([equal, kept[pairs % max(len(kept), 1)]])
    alike = np.concatenate([np.ones(len(equal), np.float32), alike])
    mirrored = np.concatenate([np.zeros(len(equal), bool), mirrored])
    conflicts = pairs[(labels[pairs[:, 0]] != labels[pairs[:, 1]]) & ~mirrored]
    same = join_copies(len(images), equal, np.ones(len(equal), np.float32))
    copies, parted = part_large(join_copies(len(images), pairs, alike), same, labels)
    return copies, np.unique(np.sort(conflicts, 1), axis=0), parted, exact


def _save(path: Path, index: ImageIndex) -> None:
    arrays: dict[str, Any] = {"format": np.array(FORMAT), "copies": index.copies, "conflicts": index.conflicts}
    arrays |= {"splits": np.array(list(index.counts)), "counts": np.array(list(index.counts.values()))}
    arrays |= {"names": index.names, "classes": index.classes, "alike": np.array(index.alike)}
    arrays["exact"] = np.array(index.exact)
    if index.groups is not None:
        arrays["groups"] = index.groups
    files.write_with(path, lambda file: np.savez(file, **arrays))


def _load(path: Path) -> ImageIndex | None:
    """A complete index of this format; None otherwise."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as found:
            if int(found["format"]) != FORMAT:
                return None
            counts = dict(zip(found["splits"].tolist(), found["counts"].tolist(), strict=True))
            arrays: dict[str, Any] = {
                key: found.get(key) for key in ("names", "classes", "groups", "copies", "conflicts")
            }
            return ImageIndex(counts, **arrays, alike=int(found["alike"]), exact=str(found["exact"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
