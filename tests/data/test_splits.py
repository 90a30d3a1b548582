"""Subsets and splits: stratified, seeded, nested, without overlap."""

from __future__ import annotations

import numpy as np
import pytest

from hwcls.data.splits import (
    random_permutation,
    select_classes,
    split_stratified,
    split_with_copies_together,
    take_subset,
)
from hwcls.errors import UserError

LABELS = np.repeat([2, 0, 1], [50, 30, 20])
ROWS = np.arange(100)


def test_split_stratified_is_stratified_disjoint_and_complete() -> None:
    rest, part = split_stratified(LABELS, ROWS, 0.1, seed=0)
    assert np.bincount(LABELS[part]).tolist() == [3, 2, 5]
    assert sorted([*rest, *part]) == ROWS.tolist()
    assert (np.diff(rest) > 0).all()
    assert (np.diff(part) > 0).all()


def test_split_stratified_takes_the_rounded_total_by_largest_remainder() -> None:
    labels = np.repeat(np.arange(10), 5)
    _, part = split_stratified(labels, np.arange(50), 0.1, seed=0)
    assert len(part) == 5
    assert np.bincount(labels[part]).max() == 1


def test_split_stratified_leaves_every_class_an_image() -> None:
    labels = np.array([0, 0, 1, 2, 2, 2])
    rest, part = split_stratified(labels, np.arange(6), 0.9, seed=0)
    assert set(labels[rest]) == {0, 1, 2}
    assert len(part) == 3
    with pytest.raises(UserError, match="two images"):
        split_stratified(np.arange(4), np.arange(4), 0.5, seed=0)


def test_a_rare_class_gets_an_image_and_the_others_keep_their_split() -> None:
    labels = np.repeat([0, 1, 2, 3], [400, 2, 1, 90])
    rows = np.arange(len(labels))
    for seed in range(5):
        before, after = (split_stratified(labels, rows, 0.1, seed, least)[1] for least in (0, 1))
        assert np.bincount(labels[before], minlength=4).tolist() == [40, 0, 0, 9]  # as version 0.1
        assert np.bincount(labels[after], minlength=4).tolist() == [40, 1, 0, 9]
        assert set(before) < set(after)
    assert np.bincount(labels[split_stratified(labels, rows, 0.1, 0, 12)[1]]).tolist() == [40, 1, 0, 12]
    for share, seed in ((0.1, 0), (0.3, 1)):  # where each class has one, nothing changes
        plain, least = (split_stratified(LABELS, ROWS, share, seed, least) for least in (0, 1))
        assert all(map(np.array_equal, plain, least))


def test_copies_stay_on_one_side() -> None:
    digests = np.arange(100, dtype=np.uint64)
    for share, seed in ((0.1, 0), (0.3, 1)):
        plain, apart = (
            split_stratified(LABELS, ROWS, share, seed),
            split_with_copies_together(LABELS, ROWS, digests, share, seed),
        )
        assert all(map(np.array_equal, plain, apart))  # without copies nothing changes
    digests = digests % 40  # the rows of two classes and more share them
    for seed in range(5):
        rest, part = split_with_copies_together(LABELS, ROWS[::-1], digests, 0.3, seed)
        assert sorted([*rest, *part]) == ROWS.tolist()
        assert not set(digests[rest]) & set(digests[part])
        assert 20 <= len(part) <= 40
    alike = np.zeros(100, np.uint64)
    assert len(split_with_copies_together(LABELS, ROWS, alike, 0.1, seed=0)[1]) == 10  # nothing to keep apart


def test_seed_decides() -> None:
    parts = [split_stratified(LABELS, ROWS, 0.2, seed)[1].tolist() for seed in (0, 0, 1)]
    assert parts[0] == parts[1] != parts[2]


def test_take_subset_is_exact_and_nested() -> None:
    few = take_subset(LABELS, ROWS, 0, per_class=5, fraction=None)
    more = take_subset(LABELS, ROWS, 0, per_class=12, fraction=None)
    assert np.bincount(LABELS[few]).tolist() == [5, 5, 5]
    assert set(few) < set(more)
    assert np.bincount(LABELS[take_subset(LABELS, ROWS, 0, None, 0.1)]).tolist() == [3, 2, 5]
    assert np.bincount(LABELS[take_subset(LABELS, ROWS, 0, 10, 0.5)]).tolist() == [5, 5, 5]
    assert np.bincount(LABELS[take_subset(LABELS, ROWS, 0, None, 0.001)]).tolist() == [1, 1, 1]


def test_leaving_a_class_out_does_not_change_the_others() -> None:
    all_classes = take_subset(LABELS, ROWS, 0, per_class=4, fraction=None)
    without = take_subset(LABELS, np.flatnonzero(LABELS != 0), 0, per_class=4, fraction=None)
    assert without.tolist() == [row for row in all_classes if LABELS[row] != 0]


def test_random_permutation_is_stable() -> None:
    assert sorted(random_permutation(1000, 1, 2)) == list(range(1000))
    assert random_permutation(8, 0).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]  # numpy promises the raw stream


def test_select_classes() -> None:
    names = ("cat", "dog", "frog")
    assert select_classes(names, None) == [0, 1, 2]
    assert select_classes(names, 2) == [0, 1]
    assert select_classes(names, ("frog", 0)) == [2, 0]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (("cat", "dgo"), "did you mean 'dog'"),
        ((0, 7), "no class 7"),
        (9, "has 3"),
        (1, "1 class asked for"),
        (("cat", 0), "twice"),
        (("cat",), "two or more"),
    ],
)
def test_bad_classes(wanted: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        select_classes(("cat", "dog", "frog"), wanted)  # type: ignore[arg-type]
