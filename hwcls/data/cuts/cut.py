"""Which images of a trial are train, val and test: the splits that the data has, and those that are cut from train."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from hwcls.config.data import DataConfig
from hwcls.data import splits
from hwcls.data.cuts.by_name import SCALE, hash_names, hold_out, join_groups
from hwcls.data.cuts.folds import assign_folds, check_assigned, check_folds
from hwcls.errors import UserError

OF_VAL = ("val_seed", "fold", "folds")  # keys that change the cut of val alone
FAR_OFF = 0.3  # of the share that was asked for


@dataclass(frozen=True, eq=False)
class Listing:
    """What a cut knows of the N training images, in the order of their rows.

    Attributes:
        names: File names, or `train image 7`; None where the cut goes by position, as known data sets and version 0.1
            do it.
        copies: (N,) equal for copies.
        groups: (N,) str, what is never split; "" for an image of no group. None: there are no groups.
        duplicates: Which copies are meant.
        notes: What a user should know of the images.
    """

    names: Sequence[str] | None
    copies: np.ndarray
    groups: np.ndarray | None = None
    duplicates: Literal["near", "exact"] = "exact"
    notes: tuple[str, ...] = ()

    def count_groups(self) -> int:
        """How many groups have several images."""
        if self.groups is None:
            return 0
        names, counts = np.unique(self.groups, return_counts=True)
        return int((counts[names != ""] > 1).sum())

    def memberships(self) -> list[np.ndarray]:
        """What keeps images together, best first: (N,) int64, equal for images that stay in one split."""
        alone = np.arange(len(self.copies))
        if self.groups is None:
            return [join_groups(self.copies), alone]
        found, numbers = np.unique(self.groups, return_inverse=True)
        numbers = np.where(self.groups == "", len(found) + alone, numbers)
        return [join_groups(self.copies, numbers), join_groups(numbers)]


@dataclass(frozen=True)
class Origin:
    """How test and val came to be.

    Attributes:
        shares: What was asked for, of the splits that were cut from train.
        groups, copies: What was kept together: groups of several images, and images that are a copy of another one.
        duplicates: Which copies are meant.
        notes: What a user should know of the cut and of copies.
    """

    shares: Mapping[str, float]
    seed: int
    groups: int = 0
    copies: int = 0
    duplicates: Literal["near", "exact"] = "exact"
    notes: tuple[str, ...] = ()
    own: Mapping[str, int] = field(default_factory=dict)  # what val alone depends on: val_seed, fold, folds; where set

    def facts(self) -> dict[str, Any]:
        """As JSON-ready values, for data.json."""
        return {
            **{f"{split}_from": "train" if split in self.shares else split for split in ("val", "test")},
            **{f"{split}_share": share for split, share in self.shares.items()},
            "split_seed": self.seed,
            **self.own,
            "duplicates": self.duplicates,
            "together": {"groups": self.groups, "copies": self.copies},
        }


@dataclass(frozen=True, eq=False)
class Selection:
    """The images of a trial.

    Attributes:
        classes: The numbers of the chosen ones.
        renumber: (K,) int64, the new number of each class of the data set; -1: not chosen.
        rows: Of train, val and test: (M,) int64 each. Those of a split that was cut are rows of the data set's train.
    """

    classes: list[int]
    renumber: np.ndarray
    rows: dict[str, np.ndarray]
    origin: Origin


def select_images(
    classes: tuple[str, ...], labels: Mapping[str, np.ndarray], config: DataConfig, listing: Callable[[], Listing]
) -> Selection:
    """Choose classes, subset and splits; test is cut first, of all images, so that it stays for any subset.

    Args:
        classes, labels: Of the data set: (N,) class numbers by split; train, and perhaps val and test.
        listing: Of its training images; called where a split is cut.

    Raises:
        UserError: An unknown class, or images that cannot be split.
    """
    chosen = splits.select_classes(classes, config.classes)
    renumber = np.full(len(classes), -1, np.int64)
    renumber[chosen] = np.arange(len(chosen))
    rows = {split: np.flatnonzero(renumber[found] >= 0) for split, found in labels.items()}
    shares = {split: getattr(config, split) for split in ("test", "val") if split not in labels}
    if config.folds is not None:
        if "val" not in shares:
            what, remedy = "the data has a val split of its own, and so no folds", "leave folds and fold out"
            raise UserError(what, where="data.folds", remedy=f"{remedy}, or put the images of val into train")
        shares["val"] = 1 / config.folds
    listed = listing() if shares else None
    notes: list[str] = []
    order = None
    if listed is not None and listed.names is not None:
        order = hash_names(listed.names, config.split_seed, "val")
        cutter = _Cutter(classes, labels["train"], config, listed, notes)
    if "test" in shares:
        out = cutter.hold_out("test", np.arange(len(labels["train"])))
        rows["test"] = np.intersect1d(rows["train"], out)
        rows["train"] = np.setdiff1d(rows["train"], out)
    train, seed = labels["train"], config.split_seed
    rows["train"] = splits.take_subset(train, rows["train"], seed, config.per_class, config.fraction, order)
    if listed is not None and "val" in shares:
        if config.folds is not None:
            out = _fold_of(classes, train, rows["train"], config, listed)
            rows["train"], rows["val"] = rows["train"][~out], rows["train"][out]
        elif order is not None:
            rows["val"] = cutter.hold_out("val", rows["train"])
            rows["train"] = np.setdiff1d(rows["train"], rows["val"])
        else:
            rows["train"], rows["val"] = splits.split_with_copies_together(
                train, rows["train"], listed.copies, config.val, _val_seed(config), config.val_min
            )
    own = {name: value for name in OF_VAL if "val" in shares and (value := getattr(config, name)) is not None}
    return Selection(chosen, renumber, rows, replace(_origin(shares, seed, listed, notes), own=own))


def _val_seed(config: DataConfig) -> int:
    return config.split_seed if config.val_seed is None else config.val_seed


def _fold_of(
    classes: tuple[str, ...], labels: np.ndarray, rows: np.ndarray, config: DataConfig, listing: Listing
) -> np.ndarray:
    """Which of the `rows` of train, sorted, are in the fold that becomes val, (N,) bool."""
    assert config.folds is not None
    assert config.fold is not None
    check_folds(classes, labels[rows], config.folds)
    seed = _val_seed(config)
    by_position = listing.names is None
    order = splits.random_words(len(labels), seed) if by_position else hash_names(listing.names or (), seed, "folds")
    together = listing.memberships()[0]
    found = assign_folds(order[rows], labels[rows], np.unique(together[rows], return_inverse=True)[1], config.folds)
    check_assigned(classes, labels[rows], found, config.folds)
    chosen: np.ndarray = found == config.fold - 1
    return chosen


def _origin(shares: Mapping[str, float], seed: int, listed: Listing | None, notes: list[str]) -> Origin:
    if listed is None:
        return Origin(shares, seed)
    copies = len(listed.copies) - len(np.unique(listed.copies))
    return Origin(shares, seed, listed.count_groups(), copies, listed.duplicates, (*notes, *listed.notes))


@dataclass(frozen=True, eq=False)
class _Cutter:
    """Cuts splits from train by the names of the images.

    Attributes:
        classes: Names of all classes.
        labels: (N,) class numbers of all training images.
        notes: Gets what a user should know of the cuts.
    """

    classes: tuple[str, ...]
    labels: np.ndarray
    config: DataConfig
    listing: Listing
    notes: list[str]

    def hold_out(self, split: str, rows: np.ndarray) -> np.ndarray:
        """Those of the `rows` of train, sorted, that become `split`."""
        assert self.listing.names is not None
        seed = _val_seed(self.config) if split == "val" else self.config.split_seed
        share = getattr(self.config, split)
        least = self.config.val_min if split == "val" else 1
        order = hash_names(self.listing.names, seed, split)[rows]
        dither = hash_names(self.classes, seed, split) / SCALE
        for together in self.listing.memberships():
            out = hold_out(order, self.labels[rows], dither, together[rows], share, least)
            if out.any():
                self._note_share(split, rows, out, share)
                held_out: np.ndarray = rows[out]
                return held_out
        if self.listing.groups is None:
            what = f"no class has two images left that {split} could be cut from"
            raise UserError(what, remedy="add images: three or more of each class")
        what = f"no group of images can be held out as {split}, since each class has only one"
        raise UserError(what, where="data.layout.group", remedy=f"name smaller groups, or give {split} yourself")

    def _note_share(self, split: str, rows: np.ndarray, out: np.ndarray, share: float) -> None:
        """Note a share that is far from the one that was asked for."""
        found = float(out.mean())
        if abs(found - share) <= FAR_OFF * share:
            return
        why = "every class has one image in it" if found > share else "copies stay together"
        if self.listing.groups is not None:
            names, counts = np.unique(self.listing.groups[rows], return_counts=True)
            largest = np.argmax(np.where(names == "", 0, counts))
            why = f"no group is split, and the largest, '{names[largest]}', has {counts[largest]:,} images"
        self.notes.append(f"{split} is {found:.0%} of the images instead of {share:.0%}: {why}")
