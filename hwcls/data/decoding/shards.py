"""Decodes a data set into the arrays of a store, shard by shard: what was finished survives the end of the process.

A folder that is being filled has, besides the arrays, `decoding.json`: what is decoded (images and settings), the range
of pixels of more than 8 bits once it is known, and how many images of each split are complete on the disk, in order.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hwcls import files
from hwcls.data import integrity
from hwcls.data.decoding.pixel_range import PixelRange
from hwcls.data.decoding.resizing import Resizing
from hwcls.data.formats.raw import EncodedImages, RawData, RawSplit
from hwcls.data.progress import ProgressMeter, rate_note

RECORD = "decoding.json"
SHARD = 1 << 28  # bytes of pixels between two records
ARRAYS = ("images", "labels", "sums", "digests")


@dataclass(frozen=True)
class Shape:
    """How images are decoded: side, channels, how they are resized."""

    size: int
    channels: int
    resizing: Resizing


@dataclass
class Unfinished:
    """A folder that is being filled.

    Attributes:
        identity: Which images are decoded and how, as JSON-ready values.
        done: By split, how many images are complete on the disk, the first ones; a split that was not begun is missing.
        levels: The range of pixels of more than 8 bits; None until it is needed.
    """

    folder: Path
    identity: dict[str, Any]
    done: dict[str, int] = field(default_factory=dict)
    levels: PixelRange | None = None

    @classmethod
    def open(cls, folder: Path, raw: RawData, shape: Shape) -> Unfinished:
        """What an earlier process left in `folder` of the same images; where that is nothing usable, no folder.

        Raises:
            OSError: What it left cannot be read now.
        """
        identity = _identity(raw, shape)
        try:
            found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            if found["identity"] == identity:
                done = {str(split): int(count) for split, count in found["done"].items()}
                unfinished = cls(folder, identity, done, PixelRange.from_dict(found["levels"]))
                for split in done:
                    unfinished.arrays(split, raw.splits[split], shape)
                return unfinished
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):  # none, or damaged
            pass
        files.remove(folder)
        return cls(folder, identity)

    def record(self) -> None:
        """Write down what is complete."""
        levels = self.levels and self.levels.to_dict()
        files.write_json(self.folder / RECORD, {"identity": self.identity, "done": self.done, "levels": levels})

    def arrays(self, split: str, part: RawSplit, shape: Shape) -> dict[str, np.memmap]:
        """The arrays of a split except its labels, to be written; created where the split was not begun.

        Raises:
            ValueError: A file that is there is not of this shape.
            OSError: A file is missing, or the disk is full.
        """
        count, size, channels = len(part.labels), shape.size, shape.channels
        shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
            "images": (np.uint8, (count, size, size, channels)),
            "sums": (np.int64, (count, 2, channels)),
            "digests": (np.uint64, (count,)),
        }
        paths = {kind: self.folder / f"{split}.{kind}.npy" for kind in shapes}
        if split in self.done:
            return {kind: _open_array(paths[kind], *wanted) for kind, wanted in shapes.items()}
        try:
            return {kind: _allocate(paths[kind], *wanted) for kind, wanted in shapes.items()}
        except OSError:  # they do not fit: what they have of the disk so far is free again
            for path in paths.values():
                path.unlink(missing_ok=True)
            raise


def decode_split(unfinished: Unfinished, split: str, part: RawSplit, shape: Shape, meter: ProgressMeter) -> None:
    """Decode what is missing of a split.

    Raises:
        UnknownRangeError: An image of more than 8 bits, and `unfinished.levels` is None.
        UserError: An image cannot be read.
    """
    # loads torch, which an opened store does not need
    from hwcls.data.decoding.decode import chunk_size, decode_tasks, run_tasks

    arrays = unfinished.arrays(split, part, shape)
    if split not in unfinished.done:
        unfinished.done[split] = 0
        unfinished.record()
    images, count, first, started = part.images, len(part.labels), unfinished.done[split], time.monotonic()
    chunk = chunk_size(shape.size, shape.channels)
    shard = max(chunk, SHARD // (shape.size * shape.size * shape.channels))
    done = first

    def save() -> None:
        for array in arrays.values():
            array.flush()
        unfinished.done[split] = done
        unfinished.record()

    def write(task: Callable[[], tuple[int, np.ndarray]]) -> Callable[[], None]:
        return lambda: _write(arrays, *task())

    tasks = decode_tasks(images, shape.size, shape.channels, unfinished.levels, shape.resizing, first)
    try:
        for _ in run_tasks(map(write, tasks)):
            done = min(done + chunk, count)
            meter.update(done, rate_note(done - first, count - done, time.monotonic() - started))
            if done - unfinished.done[split] >= shard:
                save()
    finally:
        if done > unfinished.done[split]:
            save()


def finish_split(unfinished: Unfinished, split: str, labels: np.ndarray) -> dict[str, Any]:
    """Write a decoded split's labels; returns meta.json's entry of the split."""
    stem = unfinished.folder / split
    files.write_with(stem.with_suffix(".labels.npy"), lambda file: np.save(file, labels))
    paths = {kind: stem.with_suffix(f".{kind}.npy") for kind in ARRAYS}
    for path in paths.values():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    hashed = {kind: np.load(paths[kind], mmap_mode="r") for kind in ARRAYS if kind != "images"}
    return {
        "count": len(labels),
        "bytes": {kind: path.stat().st_size for kind, path in paths.items()},
        "blake2b": {kind: integrity.hash_array(array) for kind, array in hashed.items()},
    }


def _write(arrays: dict[str, np.memmap], start: int, pixels: np.ndarray) -> None:
    """Put decoded images (n, S, S, C) and what is derived from them into their rows."""
    rows = slice(start, start + len(pixels))
    arrays["images"][rows] = pixels
    arrays["sums"][rows] = channel_sums(pixels)
    arrays["digests"][rows] = integrity.digest_images(pixels)


def _identity(raw: RawData, shape: Shape) -> dict[str, Any]:
    """Which images are decoded, in which order, and how; that their files are the same, the folder's name says."""
    resizing = shape.resizing
    splits = {}
    for name, split in raw.splits.items():
        names = split.images.names if isinstance(split.images, EncodedImages) else []
        splits[name] = [len(split.labels), hashlib.blake2b("\0".join(names).encode()).hexdigest()]
    how = [shape.size, shape.channels, resizing.how, resizing.interpolation, resizing.crop_pct]
    return {"shape": how, "splits": splits}


def _open_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> np.memmap:
    """A .npy to be written; raises ValueError where it is of another shape, or cut off."""
    found = np.load(path, mmap_mode="r")  # which refuses a file that is cut off; to be written, it would be extended
    if found.shape != shape or found.dtype != dtype:
        raise ValueError("of another shape")
    return np.lib.format.open_memmap(path, mode="r+")


def _allocate(path: Path, dtype: Any, shape: tuple[int, ...]) -> np.memmap:
    """A .npy with its disk blocks reserved: a write into a map of a full disk would be SIGBUS."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def channel_sums(pixels: np.ndarray) -> np.ndarray:
    """(n, 2, C) int64: the sum and the sum of squares of each channel of (n, S, S, C) uint8; columns first is 13x."""
    n, side, _, channels = pixels.shape
    lines = pixels.reshape(n, side, side * channels)
    columns = [part.sum(1, dtype=np.uint32) for part in (lines, np.multiply(lines, lines, dtype=np.uint16))]
    return np.stack([part.reshape(n, side, channels).sum(1, dtype=np.int64) for part in columns], 1)
