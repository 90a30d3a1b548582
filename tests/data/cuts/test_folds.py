"""Folds of a cross-validation, and cuts of val alone: test and what belongs together stay."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from hwcls.config.data import DataConfig
from hwcls.data.cuts.cut import Listing, Selection, select_images
from hwcls.data.cuts.describe import describe_origins
from hwcls.data.cuts.folds import assign_folds
from hwcls.data.imageset import open_data
from hwcls.errors import UserError

CLASSES = ("cat", "dog", "emu")
LABELS = np.repeat([0, 1, 2], [100, 40, 13])
NAMES = [f"{CLASSES[label]}/{i}.png" for i, label in enumerate(LABELS)]
EACH = np.arange(len(LABELS))


def select(listing: Listing | None = None, **settings: object) -> Selection:
    listing = listing or Listing(NAMES, EACH)
    config = DataConfig.model_validate({"name": "mine", **settings})
    return select_images(CLASSES, {"train": LABELS}, config, lambda: listing)


def folds_of(listing: Listing | None = None, folds: int = 5, **settings: object) -> list[Selection]:
    return [select(listing, folds=folds, fold=fold, **settings) for fold in range(1, folds + 1)]


def test_each_image_but_test_is_held_out_once_in_each_class_alike() -> None:
    searched, found = select(), folds_of()
    pool = np.sort(np.concatenate([searched.rows["train"], searched.rows["val"]]))
    for one in found:
        assert np.array_equal(one.rows["test"], searched.rows["test"])
        assert np.array_equal(np.sort(np.concatenate([one.rows["train"], one.rows["val"]])), pool)
    held_out = np.concatenate([one.rows["val"] for one in found])
    assert np.array_equal(np.sort(held_out), pool)
    counts = np.array([np.bincount(LABELS[one.rows["val"]], minlength=3) for one in found])
    assert (counts.max(0) - counts.min(0) <= 1).all()
    assert np.ptp(counts.sum(1)) <= 1
    again = folds_of()
    assert all(np.array_equal(one.rows["val"], other.rows["val"]) for one, other in zip(found, again, strict=True))
    other = folds_of(val_seed=1)
    assert not np.array_equal(found[0].rows["val"], other[0].rows["val"])
    assert np.array_equal(found[0].rows["test"], other[0].rows["test"])
    assert found[0].origin.facts()["val_share"] == 0.2


def test_folds_are_of_the_subset_and_of_the_chosen_classes() -> None:
    searched = select(per_class=10, classes=["dog", "emu"])
    found = folds_of(per_class=10, classes=["dog", "emu"])
    pool = set(searched.rows["train"]) | set(searched.rows["val"])
    assert {row for one in found for row in one.rows["val"]} == pool


def test_groups_and_copies_are_in_one_fold() -> None:
    groups = np.array([f"plant{i // 4}" if i < 120 else "" for i in EACH])
    copies = np.where(EACH % 8 == 7, EACH - 7, EACH)  # joins two plants
    listing = Listing(NAMES, copies, groups)
    found = folds_of(listing, folds=4)
    fold_of = np.full(len(EACH), -1)
    for number, one in enumerate(found):
        fold_of[one.rows["val"]] = number
    for membership in (groups[:120], copies):
        for one in np.unique(membership):
            assert len(set(fold_of[: len(membership)][membership == one])) == 1
    counts = np.array([np.bincount(LABELS[one.rows["val"]], minlength=3) for one in found])
    assert (counts.max(0) - counts.min(0) <= 8).all()  # a group has 8 images at most
    assert np.array_equal(found[0].rows["test"], select(listing).rows["test"])


def test_images_by_themselves_fill_up_what_groups_leave() -> None:
    labels = np.array([0] * 12 + [1] * 8)
    together = np.array([0, 0, 0, 0, *range(1, 17)])
    found = assign_folds(np.arange(20, dtype=np.uint64), labels, together, 4)
    assert len(set(found[:4])) == 1
    counts = np.stack([np.bincount(found[labels == label], minlength=4) for label in (0, 1)])
    assert sorted(counts[0]) == [2, 3, 3, 4]
    assert counts[1].tolist() == [2, 2, 2, 2]


def test_known_data_without_names_is_cut_by_position_and_copies_stay_together() -> None:
    copies = np.where(EACH % 10 == 9, EACH - 1, EACH)
    listing = Listing(None, copies)
    config = [DataConfig(name="mine", folds=3, fold=fold, val_seed=4) for fold in (1, 2, 3)]
    given = {"train": LABELS, "test": LABELS[:9]}
    found = [select_images(CLASSES, given, one, lambda: listing).rows["val"] for one in config]
    assert np.array_equal(np.sort(np.concatenate(found)), EACH)
    for rows in found:
        assert set(copies[rows]) == set(rows) & set(copies)


@pytest.mark.parametrize("names", [NAMES, None])
def test_another_cut_of_val_leaves_test_and_the_subset(names: list[str] | None) -> None:
    listing = Listing(names, EACH)
    given = {"train": LABELS} if names else {"train": LABELS, "test": LABELS[:9]}

    def cut(**settings: object) -> dict[str, np.ndarray]:
        config = DataConfig.model_validate({"name": "mine", "per_class": 30, **settings})
        return select_images(CLASSES, given, config, lambda: listing).rows

    searched, other = cut(), cut(val_seed=7)
    assert np.array_equal(searched["test"], other["test"])
    pools = [np.sort(np.concatenate([rows["train"], rows["val"]])) for rows in (searched, other)]
    assert np.array_equal(*pools)
    assert len(searched["val"]) == len(other["val"])
    assert not np.array_equal(searched["val"], other["val"])
    assert all(np.array_equal(searched[name], cut(val_seed=0)[name]) for name in searched)  # that of split_seed


def test_more_folds_than_images_of_a_class_are_refused() -> None:
    with pytest.raises(UserError, match="11 folds, but only 10 images of class 'emu' besides test — use 10 folds, or"):
        folds_of(folds=11)
    with pytest.raises(UserError, match="only 1 image of class 'emu' besides test — add images of it"):
        select_images(
            CLASSES, {"train": LABELS[:141], "test": LABELS}, DataConfig(name="x", folds=2, fold=1), listed(141)
        )


def listed(count: int) -> object:
    return lambda: Listing(None, np.arange(count))


def test_a_class_in_a_single_group_cannot_be_held_out_and_trained_on() -> None:
    groups = np.array(["one" if label == 2 else f"g{i}" for i, label in enumerate(LABELS)])
    given = {"train": LABELS, "test": LABELS}
    config = DataConfig(name="mine", folds=5, fold=1)
    with pytest.raises(UserError, match="all images of class 'emu' belong together"):
        select_images(CLASSES, given, config, lambda: Listing(NAMES, EACH, groups))


def test_more_folds_than_groups_are_refused_whichever_is_asked_for() -> None:
    """Each class has enough images, and two groups: the other folds would be empty."""
    groups = np.array([f"day{i % 2}" for i in range(len(LABELS))])
    given = {"train": LABELS, "test": LABELS}
    for fold in (1, 5):
        config = DataConfig(name="mine", folds=5, fold=fold)
        what = (
            "5 folds, but the images besides test form only 2 groups, none of which is divided — use 2 folds, or name"
        )
        with pytest.raises(UserError, match=what):
            select_images(CLASSES, given, config, lambda: Listing(NAMES, EACH, groups))
    config = DataConfig(name="mine", folds=2, fold=1)
    assert len(select_images(CLASSES, given, config, lambda: Listing(NAMES, EACH, groups)).rows["val"]) == 77


def test_fold_and_folds_come_together() -> None:
    for settings, text in (({"folds": 3}, "folds is set without fold"), ({"fold": 3}, "fold is set without folds")):
        with pytest.raises(ValidationError, match=text):
            DataConfig.model_validate({"name": "mine", **settings})
    with pytest.raises(ValidationError, match="fold 4 of 3 folds"):
        DataConfig(name="mine", folds=3, fold=4)


def test_splits_share_a_store() -> None:
    plain = open_data(DataConfig(name="digits"))
    fold = open_data(DataConfig(name="digits", folds=4, fold=2))
    assert plain.store == fold.store
    assert fold.val.images is fold.train.images
    assert len(fold.val) == pytest.approx((len(plain.train) + len(plain.val)) / 4, abs=5)
    assert np.array_equal(plain.test.rows, fold.test.rows)


def test_data_with_a_val_split_of_its_own_has_no_folds() -> None:
    given = {"train": LABELS, "val": LABELS, "test": LABELS}
    with pytest.raises(UserError, match="the data has a val split of its own, and so no folds — leave folds and fold"):
        select_images(CLASSES, given, DataConfig(name="mine", folds=5, fold=1), listed(len(LABELS)))


def test_facts_and_words_name_the_cut_of_val() -> None:
    fold, cut, plain = (select(**own).origin.facts() for own in ({"folds": 5, "fold": 2}, {"val_seed": 3}, {}))
    assert (fold["fold"], fold["folds"], cut["val_seed"]) == (2, 5, 3)
    assert not {"fold", "folds", "val_seed"} & plain.keys()
    assert describe_origins(fold)[1] == "val: fold 2 of 5 of the other images, in the same way"
    assert describe_origins(cut)[1] == "val: 10 % of the other images, in the same way (seed 3)"
    assert describe_origins({**cut, "test_from": "test"})[1].endswith("cut by hwcls (seed 3), stratified")
