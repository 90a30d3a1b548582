"""Splits of images by their names: a few new images move few others, and what belongs together stays together.

The order of the images is a hash of the seed and their names, and how many of a class are held out depends on that
class alone. A further image of a class thus moves one other image of it at most, and none of other classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from hwcls.data.formats.image_types import nfc

SCALE = 2.0**64  # a hash divided by it lies in [0, 1)


def hash_names(names: Sequence[str], *stream: object) -> np.ndarray:
    """(N,) uint64: BLAKE2b, 8 bytes, of each name in its NFC form and of the stream, such as a seed and a word."""
    key = "/".join(map(str, stream)).encode()
    hashed = (hashlib.blake2b(nfc(name).encode(errors="surrogateescape"), digest_size=8, key=key) for name in names)
    return np.frombuffer(b"".join(one.digest() for one in hashed), "<u8").astype(np.uint64)


def join_groups(*memberships: np.ndarray) -> np.ndarray:
    """(N,) int64: equal numbers for images that any of the memberships (N,) joins, also through others; from 0."""
    inverse = [np.unique(members, return_inverse=True)[1] for members in memberships]
    joined = np.arange(len(memberships[0]), dtype=np.int64)
    changed = True
    while changed:  # every image takes the lowest number among those it is joined with, until none changes
        before = joined
        for members in inverse:
            lowest = np.full(len(joined), len(joined), np.int64)
            np.minimum.at(lowest, members, joined)
            joined = lowest[members]
            joined = joined[joined]  # and the number that this one has: long chains take few rounds
        changed = not np.array_equal(joined, before)
    return np.unique(joined, return_inverse=True)[1].astype(np.int64)


def hold_out(
    order: np.ndarray, labels: np.ndarray, dither: np.ndarray, together: np.ndarray, share: float, least: int = 1
) -> np.ndarray:
    """Which images are held out: about `share` of each class, and of images that belong together all or none.

    A class of n images gives floor(share * n + its dither), so that all classes together give about `share`; at least
    `least`, and never its last image. Images that belong together are taken or left in their order, as brings the
    counts of their classes nearest to that; images by themselves fill up the rest.

    Args:
        order: (N,) uint64, as of `hash_names`: the first ones are held out.
        labels: (N,) int64, class numbers.
        dither: (K,) in [0, 1), by class number.
        together: (N,) int64, equal for images that belong together.

    Returns:
        (N,) bool; none is set where every class would lose its last image.
    """
    counts = np.bincount(labels, minlength=len(dither))
    quota = np.floor(np.round(share * counts, 9) + dither).astype(np.int64)
    quota = np.clip(np.maximum(quota, least), 0, np.maximum(counts - 1, 0))
    members = np.bincount(together, minlength=1)[together] > 1
    chosen = _hold_out_groups(order, labels, together, quota, share, members)
    taken = np.bincount(labels[chosen], minlength=len(dither))
    alone = np.flatnonzero(~members)
    alone = alone[np.lexsort((order[alone], labels[alone]))]
    starts = np.searchsorted(labels[alone], np.arange(len(dither)))
    rank = np.arange(len(alone)) - starts[labels[alone]]
    chosen[alone[rank < (quota - taken)[labels[alone]]]] = True
    return chosen


def _hold_out_groups(
    order: np.ndarray, labels: np.ndarray, together: np.ndarray, quota: np.ndarray, share: float, members: np.ndarray
) -> np.ndarray:
    """(N,) bool: the groups that are held out, of which each class keeps a share like that of its other images."""
    chosen = np.zeros(len(labels), bool)
    if not members.any():
        return chosen
    counts = np.bincount(labels, minlength=len(quota))
    grouped = np.bincount(labels[members], minlength=len(quota))
    lacking = np.where(grouped == counts, quota, np.minimum(quota, share * grouped))  # of each class
    left = counts.copy()  # in train
    groups = split_by(together, np.flatnonzero(members), order)
    skipped = []
    for rows in groups:
        classes, amount = np.unique(labels[rows], return_counts=True)
        gain = np.abs(lacking[classes]).sum() - np.abs(lacking[classes] - amount).sum()
        if gain > 0 and (left[classes] > amount).all():
            chosen[rows] = True
            lacking[classes] -= amount
            left[classes] -= amount
        else:
            skipped.append((rows, classes, amount))
    alone = counts > grouped
    for rows, classes, amount in sorted(skipped, key=lambda group: len(group[0])):
        none = (left[classes] == counts[classes]) & (quota[classes] > 0) & ~alone[classes]
        if none.any() and (left[classes] > amount).all():  # a class that only larger groups than its quota have
            chosen[rows] = True
            left[classes] -= amount
    return chosen


def split_by(together: np.ndarray, rows: np.ndarray, order: np.ndarray) -> list[np.ndarray]:
    """The rows of each group, the group of the first image in `order` first."""
    rows = rows[np.argsort(order[rows], kind="stable")]
    by_group = np.argsort(together[rows], kind="stable")
    starts = np.unique(together[rows][by_group], return_index=True)[1]
    groups = np.split(rows[by_group], starts[1:])
    return sorted(groups, key=lambda group: int(order[group[0]]))
