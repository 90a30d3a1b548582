"""Near copies among many images: re-encoded, resized, brightened, slightly cropped, stamped or mirrored ones.

Two images are near copies where the scalar product of their descriptions (`features`) reaches a threshold that the
data decides: copies have the same label as a rule and are few, so what images of different labels reach by chance, and
what an image has in common with its twentieth neighbour, is no sign of a copy. Photos give 0.8, images that look much
alike more; where many are as alike as copies, such as the ones among handwritten digits, only exact copies count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from hwcls.data.cuts.features import SIDE
from hwcls.data.splits import random_words

LEAST, MOST = 0.8, 0.985  # of the threshold
NEARER = (0.6, 0.8), (0.65, 0.4)  # than the angle of images that are alike by chance: the more so, the more alike
CROWDED = 0.9  # by chance: nothing tells a copy
SMALL = 32  # pixels of the short side: less has too little detail
SAMPLE, COMMON = 1000, 0.99  # images that are compared with all others; their quantile that counts as chance
BANDS = 96  # hashes of each image; near copies have one in common
FOUND = 0.04  # the probability that one hash of two images at the threshold is the same: 1 - 0.96^96 = 98 % are found
SKETCH = 128  # bits that are compared before the descriptions are
AT_ONCE = 1 << 14  # pairs, or images
REACH = 16  # images with a hash in common that are compared with each
MANY = 64  # copies of an image that are looked for: a camera that never moves has thousands
LARGE, SAME = 20, 0.995  # a larger set of copies is one only where they can hardly be told apart


def find_threshold(described: np.ndarray, labels: np.ndarray) -> float | None:
    """How alike two images (N, D) of unit length must be to count as copies, given their labels (N,).

    None: so many images are alike that nothing tells a copy.
    """
    if len(labels) < 2:
        return LEAST
    sample = np.argsort(random_words(len(labels), 0), kind="stable")[:SAMPLE]
    other = np.full(len(sample), -1.0)  # the image of another label that is most alike
    nearest = np.full((len(sample), 0), -1.0)  # the LARGE images that are
    for start in range(0, len(labels), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        alike = described[sample] @ described[part].T
        alike[sample[:, None] == np.arange(len(labels))[part]] = -1
        nearest = np.hstack([nearest, alike])
        nearest = -np.partition(-nearest, min(LARGE, nearest.shape[1]) - 1, 1)[:, :LARGE]
        alike[labels[sample][:, None] == labels[part]] = -1
        other = np.maximum(other, alike.max(1))
    crowd = float(np.quantile(nearest.min(1), COMMON, method="lower"))  # -1, its own, with fewer than LARGE others
    if crowd > CROWDED:
        return None
    chance = max(crowd, float(np.quantile(other, COMMON, method="lower")), 0.0)
    nearer = float(np.interp(chance, *NEARER))
    found = math.cos(nearer * math.acos(min(chance, 1.0)))
    return round(min(max(found, LEAST), MOST), 3)  # which hides the last digit, that CPUs disagree on


def find_pairs(described: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (P, 2) of rows of `described` (N, D) whose scalar product reaches `threshold`, and it (P,) float32.

    Each image has BANDS hashes, of the signs of its products with random vectors (Charikar 2002); only images with one
    in common are compared, and of many with the same one REACH neighbours; one that has MANY copies is done.
    """
    count = len(described)
    bits = _hash_bits(threshold)
    sketch = _signs(described, SKETCH, 0).view(np.uint64)  # (N, SKETCH / 64)
    apart = SKETCH * math.acos(threshold) / math.pi
    most = int(apart + 3.5 * math.sqrt(apart))
    codes, products = np.zeros(0, np.int64), np.zeros(0, np.float32)
    partners = np.zeros(count, np.int64)
    for band in range(BANDS):
        rows = np.flatnonzero(partners < MANY)
        keys = _signs(described[rows], bits, 1 + band).view(np.uint64)[:, 0]
        found = [(codes, products)]
        for places, others in _pairs_of_equal(keys):
            first, second = rows[places], rows[others]
            near = np.bitwise_count(sketch[first] ^ sketch[second]).sum(1) <= most
            first, second = first[near], second[near]
            for start in range(0, len(first), AT_ONCE):
                one, other = first[start : start + AT_ONCE], second[start : start + AT_ONCE]
                alike = np.einsum("ij,ij->i", described[one], described[other])
                kept = alike >= threshold
                found.append((np.minimum(one, other)[kept] * count + np.maximum(one, other)[kept], alike[kept]))
        if len(found) > 1:
            codes, first_at = np.unique(np.concatenate([some for some, _ in found]), return_index=True)
            products = np.concatenate([some for _, some in found])[first_at]
            partners = np.bincount(np.concatenate([codes // count, codes % count]), minlength=count)
    return np.stack([codes // max(count, 1), codes % max(count, 1)], 1), products


def _hash_bits(threshold: float) -> int:
    """So many signs that two images at the threshold have all of them in common with the probability FOUND."""
    same = 1 - math.acos(threshold) / math.pi
    return min(max(int(math.log(FOUND) / math.log(same)), 8), 64)


def _signs(described: np.ndarray, bits: int, seed: int) -> np.ndarray:
    """(N, 8 or more) uint8: the packed signs of products with `bits` vectors of -1 and 1, a function of the seed."""
    size = described.shape[1]
    words = random_words(bits * size // 64, 7, seed).view(np.uint8)
    vectors = np.unpackbits(words).reshape(size, bits).astype(np.float32) * 2 - 1
    packed = np.zeros((len(described), -(-bits // 64) * 8), np.uint8)
    for start in range(0, len(described), AT_ONCE):
        signs = np.packbits(described[start : start + AT_ONCE] @ vectors > 0, axis=1)
        packed[start : start + len(signs), : signs.shape[1]] = signs
    return packed


def _pairs_of_equal(keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of rows with the same key, of which there are at most REACH for each row."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    places = np.arange(len(keys))
    for step in range(1, REACH + 1):
        places = places[places < len(keys) - step]
        places = places[ordered[places] == ordered[places + step]]
        if not len(places):
            return
        yield order[places], order[places + step]


def join_copies(count: int, pairs: np.ndarray, alike: np.ndarray) -> np.ndarray:
    """(count,) int64, equal for copies: pairs (P, 2) are joined, the most alike (P,) first.

    A set of more than LARGE images grows by pairs of SAME and more only: otherwise chains of images that look alike,
    such as handwritten ones, would become one set.
    """
    parent, size = list(range(count)), [1] * count

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for at in np.lexsort((pairs[:, 1], pairs[:, 0], -alike)).tolist():
        first, second = sorted((root(int(pairs[at, 0])), root(int(pairs[at, 1]))))
        if first != second and (alike[at] >= SAME or size[first] + size[second] <= LARGE):
            parent[second] = first
            size[first] += size[second]
    return np.array([root(place) for place in range(count)], np.int64)


def part_large(copies: np.ndarray, same: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, int]:
    """The copies (N,) without large sets of more than half of a class, of which no split would get a fair part.

    Args:
        same: (N,) equal for images of the same pixels, which stay together.
        labels: (N,) class numbers.

    Returns:
        (N,) int64, equal for copies; and how many images were in such sets.
    """
    found, whole = copies.copy(), np.bincount(labels)
    numbers, counts = np.unique(copies, return_counts=True)
    for number in numbers[counts > LARGE]:
        members = np.flatnonzero(copies == number)
        some = np.bincount(labels[members], minlength=len(whole))
        if (2 * some > whole)[labels[members]].any() and len(np.unique(same[members])) > 1:
            found[members] = len(copies) + same[members]
    return found, int((found != copies).sum())


def mirror(reduced: np.ndarray) -> np.ndarray:
    """(N, SIDE, SIDE) reduced images, left and right exchanged."""
    return reduced.reshape(-1, SIDE, SIDE)[..., ::-1]
