"""Which images are train, val and test where the data has no test split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hwcls.config.data import DataConfig
from hwcls.data.cuts.cut import Listing, Selection, select_images
from hwcls.data.formats.archive import open_tree
from hwcls.data.formats.raw import EncodedImages, RawData, RawSplit
from hwcls.data.imageset import count_images, open_data
from hwcls.errors import UserError

CLASSES = ("cat", "dog", "emu")
LABELS = np.repeat([0, 1, 2], [100, 40, 10])
NAMES = [f"{CLASSES[label]}/{i}.png" for i, label in enumerate(LABELS)]
EACH = np.arange(len(LABELS))


def select(listing: Listing | None = None, **settings: object) -> Selection:
    listing = listing or Listing(NAMES, EACH)
    config = DataConfig.model_validate({"name": "mine", **settings})
    return select_images(CLASSES, {"train": LABELS}, config, lambda: listing)


def counts(selection: Selection) -> dict[str, list[int]]:
    new = selection.renumber[LABELS]
    return {
        split: np.bincount(new[rows], minlength=len(selection.classes)).tolist()
        for split, rows in selection.rows.items()
    }


def test_test_is_cut_first_and_then_val() -> None:
    found = select()
    assert counts(found) == {"train": [72, 29, 7], "val": [8, 3, 1], "test": [20, 8, 2]}
    assert np.array_equal(np.sort(np.concatenate(list(found.rows.values()))), EACH)
    assert found.origin.facts() == {
        "val_from": "train",
        "test_from": "train",
        "test_share": 0.2,
        "val_share": 0.1,
        "split_seed": 0,
        "duplicates": "exact",
        "together": {"groups": 0, "copies": 0},
    }
    assert found.origin.notes == ()


def test_test_is_the_same_for_every_subset() -> None:
    whole = select()
    for settings in ({"per_class": 5}, {"fraction": 0.3}, {"val": 0.4}, {"classes": ["dog", "emu"]}):
        some = select(**settings)
        kept = np.isin(LABELS, some.classes)
        assert some.rows["test"].tolist() == [row for row in whole.rows["test"] if kept[row]]
    fewer, more = select(per_class=5), select(per_class=9)
    assert counts(fewer) == {"train": [4, 4, 4], "val": [1, 1, 1], "test": [20, 8, 2]}
    used = [set(found.rows["train"]) | set(found.rows["val"]) for found in (fewer, more)]
    assert used[0] < used[1]
    assert select(split_seed=1).rows["test"].tolist() != whole.rows["test"].tolist()


def test_groups_and_copies_are_in_one_split() -> None:
    groups = np.array([f"plant{i // 8}" if i < 120 else "" for i in EACH])
    copies = np.where(EACH % 8 == 7, EACH - 7, EACH)  # the last of each group looks like its first
    copies[128:] = EACH[128:] // 2 * 2 + 1000  # pairs in no group
    found = select(Listing(NAMES, copies, groups))
    split_of = np.empty(len(EACH), "U5")
    for split, rows in found.rows.items():
        split_of[rows] = split
    for membership in (groups[:120], copies):
        for one in np.unique(membership):
            assert len(set(split_of[: len(membership)][membership == one])) == 1
    assert found.origin.facts()["together"] == {"groups": 15, "copies": 16 + 11}
    assert all(sizes[0] > 0 for sizes in counts(found).values())


def test_a_share_that_groups_do_not_permit_is_said() -> None:
    groups = np.array([f"{CLASSES[label]}{i % 2}" for i, label in enumerate(LABELS)])
    with pytest.raises(UserError, match="no group of images can be held out as val, since each class has only one"):
        select(Listing(NAMES, EACH, groups))
    groups = np.array([f"{CLASSES[label]}{i % 3}" for i, label in enumerate(LABELS)])
    found = select(Listing(NAMES, EACH, groups))
    assert found.origin.notes == (
        "test is 33% of the images instead of 20%: no group is split, and the largest, 'cat0', has 34 images",
        "val is 49% of the images instead of 10%: no group is split, and the largest, 'cat0', has 34 images",
    )


def test_copies_that_leave_nothing_to_hold_out_are_split() -> None:
    found = select(Listing(NAMES, np.zeros(len(EACH), np.int64)))
    assert counts(found)["test"] == [20, 8, 2]


def test_an_opened_data_set_has_the_images_of_its_splits(
    make: object, tmp_path: Path, change_spec: Callable[..., None]
) -> None:
    """Each image has its number as its colour; test is cut from train, so that its rows are rows of train."""
    folder = tmp_path / "mine"
    for i, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(make.png(np.full((4, 4, 3), i, np.uint8)))  # type: ignore[attr-defined]
    raw = RawData(CLASSES, {"train": RawSplit(EncodedImages(open_tree(folder), NAMES), LABELS)})
    change_spec("imagefolder", read=lambda *place: raw)
    config = DataConfig(name="imagefolder", path=str(folder), classes=("dog", "cat"), duplicates="exact")
    counted = count_images(config)
    opened, expected = open_data(config), select(classes=["dog", "cat"])
    for split in ("train", "val", "test"):
        part = getattr(opened, split)
        shown = part.images[part.rows][:, 0, 0, 0]
        assert shown.tolist() == expected.rows[split].tolist()
        assert [opened.classes[label] for label in part.labels] == [NAMES[i].split("/")[0] for i in shown]
    assert counted == (("dog", "cat"), opened.counts()) == count_images(config)
    assert opened.facts()["test_from"] == "train"
    assert opened.facts()["path"] == str(folder)
    assert "path" not in open_data(DataConfig(name="digits")).facts()
    assert opened.facts()["images_per_class"] == {"train": [29, 72], "val": [3, 8], "test": [8, 20]}


def test_too_few_images_for_val_after_test_was_cut() -> None:
    labels, config = np.array([0, 0, 1, 1]), DataConfig.model_validate({"name": "mine"})
    listing = Listing(["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"], np.arange(4))
    with pytest.raises(UserError, match="no class has two images left that val could be cut from"):
        select_images(CLASSES[:2], {"train": labels}, config, lambda: listing)
