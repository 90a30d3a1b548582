"""Rows (file, label, split, group) of a user's own images, checked and made RawData."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from hwcls.data.formats.archive import FileTree
from hwcls.data.formats.image_types import LeftOut
from hwcls.data.formats.raw import EncodedImages, RawData, RawSplit
from hwcls.errors import UserError, did_you_mean
from hwcls.format import format_count

SPLITS = ("train", "val", "test")
PHOTOS, NEARLY = (".jpg", ".jpeg"), 0.9
MASKS = LeftOut("masks or copies of photos, by their names", "rename them if they are images of their own")
TINY, LARGE = 3, 100  # training images of a class, below and from which it is noted; many classes are as many


@dataclass
class Rows:
    """What the files and tables of a user say, one entry for each labelled image.

    Attributes:
        where: What says the labels, for errors: a table, or the folder above the classes.
        files: Names in the tree.
        splits: Of SPLITS; "" where nothing says.
        groups: "" is no group; None: nothing says the groups.
        found: How they were read, in plain sentences.
        plain: Whether split and class folders alone say everything.
        layout: The table and its columns, where one table says all; else empty.
        without_labels: The split folders whose images have no class.
    """

    where: str
    files: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    groups: list[str] | None = None
    found: list[str] = field(default_factory=list)
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    plain: bool = False
    layout: dict[str, str] = field(default_factory=dict)
    without_labels: tuple[str, ...] = ()

    def add(self, file: str, label: str, split: str) -> None:
        """Add an image."""
        self.files.append(file)
        self.labels.append(label)
        self.splits.append(split)

    def leave_out_masks(self, masks: Collection[str]) -> None:
        """Leave out what `find_masks` found."""
        if masks:
            self.left_out |= dict.fromkeys(masks, MASKS)
            what = "images have the name of a photo beside them and are left out, as masks give the class away"
            self.found.append(f"note: {len(masks):,} {what}: {min(masks)}")


def find_masks(names: Sequence[str]) -> set[str]:
    """The images that go with photos, as 1.png beside 1.jpg; none unless nearly each photo has one."""
    photos = {name.rpartition(".")[0] for name in names if name.lower().endswith(PHOTOS)}
    masks = {name for name in names if name.rpartition(".")[0] in photos and not name.lower().endswith(PHOTOS)}
    return masks if len(masks) >= NEARLY * len(photos) else set()


def build(tree: FileTree, rows: Rows) -> RawData:
    """Check the rows and make the data set; where only one of val and test is there, it is the test split.

    Raises:
        UserError: There are fewer than two classes, two spellings of one, a class that train lacks, or no training
            image; or each class has one image.
    """
    splits = _one_held_out(rows)
    order = sorted(range(len(rows.files)), key=rows.files.__getitem__)
    members = {split: [i for i in order if splits[i] == split] for split in SPLITS}
    train = Counter(rows.labels[i] for i in members["train"])
    _check_classes(rows, train)
    _note_tiny_classes(rows, train)
    for split in ("val", "test"):
        for label in sorted({rows.labels[i] for i in members[split]} - set(train)):
            what = f"class '{label}' is in {split}, but not in train"
            raise UserError(what, where=rows.where, remedy=did_you_mean(label, train) if len(train) < 50 else "")
    classes = tuple(sorted(train))
    number = {label: i for i, label in enumerate(classes)}
    parts: dict[str, RawSplit] = {}
    groups: dict[str, np.ndarray] = {}
    for split, chosen in members.items():
        if chosen:
            labels = np.array([number[rows.labels[i]] for i in chosen], np.int64)
            parts[split] = RawSplit(EncodedImages(tree, [rows.files[i] for i in chosen]), labels)
            groups[split] = np.array([rows.groups[i] for i in chosen] if rows.groups else [])
    return RawData(
        classes,
        parts,
        left_out=rows.left_out,
        groups=groups if rows.groups else None,
        found=tuple(rows.found),
        plain=rows.plain,
        layout=rows.layout,
    )


def _one_held_out(rows: Rows) -> list[str]:
    """The splits of the rows: without a test split, val is it; without any split, all is train."""
    present = set(rows.splits)
    if present == {"train", "val"}:
        rows.found.append("there is no test split: val is the test split, and val is cut from train")
        return ["test" if split == "val" else split for split in rows.splits]
    return [split or "train" for split in rows.splits]


def _check_classes(rows: Rows, train: Counter[str]) -> None:
    """Raise UserError where the training images are nothing to learn from."""
    if not train:
        raise UserError("no training images", where=rows.where, remedy="name the folder or the split that has them")
    check_spellings(train, rows.where)
    if len(train) < 2:
        what = f"all training images ({sum(train.values()):,}) are of one class, '{next(iter(train))}'"
        raise UserError(what, where=rows.where, remedy="two classes or more are needed: add images of another")
    if max(train.values()) < 2 and "val" not in rows.splits:
        what = f"each of the {len(train):,} classes has one training image, such as {first_of(sorted(train))}"
        raise UserError(what, where=rows.where, remedy="several images of each class are needed")


def _note_tiny_classes(rows: Rows, train: Counter[str]) -> None:
    """Note classes of hardly any image beside one of very many, and where most of many classes are so."""
    (largest, most), tiny = train.most_common(1)[0], sorted(label for label in train if train[label] < TINY)
    if tiny and (most >= LARGE or 2 * len(tiny) > len(train) >= LARGE):
        shown = first_of([f"{label} ({train[label]})" for label in tiny])
        rare = f"{len(tiny):,} of {len(train):,} classes with one or two training images: {shown}"
        rows.found.append(f"note: {rare}; {largest} has {most:,}")


def check_spellings(counts: Counter[str], where: str) -> None:
    """Raise UserError where two labels differ in case or blanks alone; A and a, of one letter, are two classes."""
    spelled: dict[str, str] = {}
    for label in sorted(counts):
        key = "".join(label.split()).casefold()
        other = spelled.setdefault(key, label) if len(key) > 1 else label
        if other != label:
            first = format_count(counts[other], "image")
            what = f"'{other}' ({first}) and '{label}' ({counts[label]:,}) differ in case or blanks alone"
            raise UserError(what, where=where, remedy="give both one spelling")


def first_of(names: Sequence[str], most: int = 3) -> str:
    """The first names in words, with `...` where there are more."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
