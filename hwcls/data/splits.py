"""Subsets and splits: by class and number of images, and a stratified held-out part.

Every class has one order, a function of the seed alone. A subset is its beginning, so that a smaller subset is part
of a larger one; a held-out part is the beginning of what it keeps.
"""

from __future__ import annotations

import numpy as np

from hwcls.data.formats.image_types import nfc
from hwcls.errors import UserError, did_you_mean
from hwcls.format import format_count

Classes = int | tuple[int | str, ...] | None


def random_words(count: int, *seeds: int) -> np.ndarray:
    """(count,) uint64 of numpy's raw PCG64 stream, which never changes between versions."""
    return np.random.PCG64(np.random.SeedSequence(seeds)).random_raw(count)


def random_permutation(count: int, *seeds: int) -> np.ndarray:
    """A permutation of range(count), a function of the seeds."""
    return np.argsort(random_words(count, *seeds), kind="stable")


def shuffle_classes(
    labels: np.ndarray, rows: np.ndarray, seed: int, order: np.ndarray | None = None
) -> list[np.ndarray]:
    """The rows of each class present, in the order that subsets and splits use.

    Args:
        labels: (M,) the classes of all images, so that leaving out some `rows` does not change the others' order.
        rows: The rows to order; their order does not matter.
        order: (M,) what they are ordered by, instead of the seed.
    """
    order = random_words(len(labels), seed) if order is None else order
    rows = rows[np.lexsort((order[rows], labels[rows]))]
    starts = np.unique(labels[rows], return_index=True)[1]
    return np.split(rows, starts[1:])


def take_subset(
    labels: np.ndarray,
    rows: np.ndarray,
    seed: int,
    per_class: int | None,
    fraction: float | None,
    order: np.ndarray | None = None,
) -> np.ndarray:
    """Keep `per_class` images of each class and then the `fraction` of them, at least one; rows sorted."""
    if per_class is None and fraction is None:
        return np.sort(rows)
    kept = []
    for found in shuffle_classes(labels, rows, seed, order):
        found = found[:per_class]
        kept.append(found if fraction is None else found[: max(1, round(fraction * len(found)))])
    return np.sort(np.concatenate(kept))


def split_with_copies_together(
    labels: np.ndarray, rows: np.ndarray, digests: np.ndarray, share: float, seed: int, least: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """As `split_stratified`, but copies of an image stay together: no image of `part` has the pixels of one of `rest`.

    Where no class has two different images, copies cannot stay together and are split as if they differed.

    Args:
        digests: (M,) of all images; copies have equal ones.
    """
    rows = np.sort(rows)
    _, first, copy_of = np.unique(digests[rows], return_index=True, return_inverse=True)
    first = rows[first]
    if np.bincount(labels[first]).max() < 2:
        return split_stratified(labels, rows, share, seed, least)
    _, part = split_stratified(labels, first, share, seed, least)
    held_out = np.isin(first, part)[copy_of]  # (N,) of every row, by its first copy
    return rows[~held_out], rows[held_out]


def split_stratified(
    labels: np.ndarray, rows: np.ndarray, share: float, seed: int, least: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Split `rows` into (rest, part), both sorted, no row in both.

    `part` holds round(share * N) rows, at least one, distributed over the classes by largest remainder. Then a class
    with fewer than `least` of them gives up to `least`, in addition: the other classes keep their split. No class loses
    its last image.

    Raises:
        UserError: No class has two images.
    """
    orders = shuffle_classes(labels, rows, seed)
    counts = np.array([len(order) for order in orders])
    total = max(1, round(share * int(counts.sum())))
    exact = share * counts
    quota = np.minimum(np.floor(exact).astype(np.int64), counts - 1)
    ties = random_permutation(len(counts), seed, 2**32)  # break ties at random, not by class number
    for place in ties[np.argsort(-(exact - np.floor(exact))[ties], kind="stable")].tolist() * 2:
        if quota.sum() < total and quota[place] < counts[place] - 1:
            quota[place] += 1
    quota = np.maximum(quota, np.minimum(least, counts - 1))
    if not quota.sum():
        raise UserError("no class has two images, so nothing can be held out", remedy="keep more images per class")
    part = np.concatenate([order[:n] for order, n in zip(orders, quota, strict=True)])
    rest = np.concatenate([order[n:] for order, n in zip(orders, quota, strict=True)])
    return np.sort(rest), np.sort(part)


def select_classes(names: tuple[str, ...], wanted: Classes) -> list[int]:
    """The numbers of the classes that `wanted` asks for: all, the first n, or by number and name in that order.

    Raises:
        UserError: An unknown class (with the nearest name), one named twice, or fewer than two.
    """
    where = "data.classes"
    if wanted is None:
        return list(range(len(names)))
    if isinstance(wanted, int):
        if not 2 <= wanted <= len(names):
            raise UserError(
                f"{format_count(wanted, 'class')} asked for",
                where=where,
                remedy=f"the data set has {len(names)}, take 2 or more",
            )
        return list(range(wanted))
    numbers = []
    for one in wanted:
        if isinstance(one, int):
            if not 0 <= one < len(names):
                raise UserError(f"no class {one}", where=where, remedy=f"numbers go from 0 to {len(names) - 1}")
            numbers.append(one)
        elif nfc(one) in names:
            numbers.append(names.index(nfc(one)))
        else:
            raise UserError(f"no class '{one}'", where=where, remedy=did_you_mean(one, names))
    if len(set(numbers)) < len(numbers):
        raise UserError("a class is named twice", where=where, remedy="name each once")
    if len(numbers) < 2:
        raise UserError("one class is nothing to classify", where=where, remedy="name two or more")
    return numbers
