"""Checksums of decoded pixels, and what they reveal: changed images, and duplicates across and within splits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

BLOCK = 1024  # images read at once


@dataclass(frozen=True)
class Duplicate:
    """An image with the same pixels as an earlier one: both by split and row, and whether their labels agree."""

    split: str
    row: int
    of_split: str
    of_row: int
    same_label: bool


def hash_array(array: np.ndarray) -> str:
    """BLAKE2b of an array's bytes, as hexadecimal digits."""
    return hashlib.blake2b(array.tobytes()).hexdigest()


def digest_images(pixels: np.ndarray) -> np.ndarray:
    """(n,) uint64: BLAKE2b, 8 bytes, of each image of (n, H, W, C) uint8."""
    rows = np.ascontiguousarray(pixels)
    parts = [hashlib.blake2b(row, digest_size=8).digest() for row in rows]
    return np.frombuffer(b"".join(parts), "<u8").astype(np.uint64)


def find_changed_images(images: np.ndarray, digests: np.ndarray) -> Iterator[int]:
    """The rows of (N, H, W, C) `images` that no longer match their recorded `digests` (N,)."""
    for start in range(0, len(images), BLOCK):
        changed = digest_images(images[start : start + BLOCK]) != digests[start : start + BLOCK]
        yield from (start + np.flatnonzero(changed)).tolist()


def find_duplicates(labels: Mapping[str, np.ndarray], digests: Mapping[str, np.ndarray]) -> list[Duplicate]:
    """Images with the same pixels as an earlier image of any split.

    Args:
        labels, digests: (N,) each, by split.
    """
    names = list(digests)
    parts = [digests[split] for split in names]
    label_of = np.concatenate([labels[split] for split in names])
    split_of = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    row_of = np.concatenate([np.arange(len(part)) for part in parts])
    _, first, inverse = np.unique(np.concatenate(parts), return_index=True, return_inverse=True)
    copies = np.flatnonzero(first[inverse] != np.arange(len(inverse)))
    return [
        Duplicate(
            names[split_of[i]], int(row_of[i]), names[split_of[j]], int(row_of[j]), bool(label_of[i] == label_of[j])
        )
        for i, j in zip(copies, first[inverse][copies], strict=True)
    ]


def describe_duplicates(found: list[Duplicate]) -> str:
    """One line: how many duplicates, how many of them in another split, and how many under another label."""
    across = sum(one.split != one.of_split for one in found)
    conflicting = sum(not one.same_label for one in found)
    return f"duplicate images: {len(found)} ({across} in another split, {conflicting} under another label)"
