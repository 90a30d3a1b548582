"""Folds of a cross-validation: each image is held out once, stratified, and what belongs together stays together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwcls.data.cuts.by_name import split_by
from hwcls.errors import UserError
from hwcls.format import format_count


def assign_folds(order: np.ndarray, labels: np.ndarray, together: np.ndarray, folds: int) -> np.ndarray:
    """The fold of each image, from 0.

    Images that belong together are placed first, the largest groups before the others, where their classes lack most.
    Images by themselves fill up each class in their order, so that without groups a class differs by one image at most
    from fold to fold.

    Args:
        order: (N,) uint64: which images of a class come first.
        labels: (N,) int64, class numbers.
        together: (N,) int64, equal for images that belong together.

    Returns:
        (N,) int64.
    """
    classes = int(labels.max()) + 1
    found = np.full(len(labels), -1, np.int64)
    counts = np.zeros((folds, classes), np.int64)
    wanted = np.bincount(labels, minlength=classes) / folds
    members = np.bincount(together)[together] > 1
    groups = split_by(together, np.flatnonzero(members), order) if members.any() else []
    for rows in sorted(groups, key=len, reverse=True):
        kinds, amount = np.unique(labels[rows], return_counts=True)
        before = np.abs(counts[:, kinds] - wanted[kinds]).sum(1)
        change = np.abs(counts[:, kinds] + amount - wanted[kinds]).sum(1) - before
        fold = int(np.lexsort((counts.sum(1), np.round(change, 9)))[0])
        found[rows] = fold
        counts[fold, kinds] += amount
    alone = np.flatnonzero(~members)
    alone = alone[np.lexsort((order[alone], labels[alone]))]
    for rows in np.split(alone, np.flatnonzero(np.diff(labels[alone])) + 1):
        if len(rows):
            kind = labels[rows[0]]
            added = _fill(counts[:, kind], counts.sum(1), len(rows))
            found[rows] = np.repeat(np.arange(folds), added)
            counts[:, kind] += added
    return found


def _fill(counts: np.ndarray, totals: np.ndarray, amount: int) -> np.ndarray:
    """How many of `amount` images each fold gets, so that their counts (K,) of a class become as equal as can be.

    What is left over goes to the folds with the fewest images in all.
    """
    filled = counts.copy()
    while amount:
        lowest = np.flatnonzero(filled == filled.min())
        above = filled[filled > filled.min()]
        step = amount // len(lowest)
        if len(above):
            step = min(step, int(above.min() - filled.min()))
        if not step:
            lowest = lowest[np.argsort((totals - counts + filled)[lowest], kind="stable")][:amount]
            step = 1
        filled[lowest] += step
        amount -= step * len(lowest)
    return np.asarray(filled - counts)


def check_folds(names: Sequence[str], labels: np.ndarray, folds: int) -> None:
    """Raise UserError where a class (labels (N,), by number in `names`) has fewer images than there are folds."""
    found, counts = np.unique(labels, return_counts=True)
    least = int(np.argmin(counts))
    if counts[least] < folds:
        what = f"{folds} folds, but only {format_count(int(counts[least]), 'image')} of class '{names[found[least]]}'"
        fewer = f"use {counts[least]} folds, or " if counts[least] > 1 else ""
        raise UserError(f"{what} besides test", where="data.folds", remedy=f"{fewer}add images of it")


def check_assigned(names: Sequence[str], labels: np.ndarray, found: np.ndarray, folds: int) -> None:
    """Raise UserError where a fold is empty, or has all images of a class, of which none is then left to train on.

    Args:
        names: Of the classes.
        labels, found: (N,) the class and the fold of each image.
    """
    if (filled := len(np.unique(found))) < folds:
        groups = format_count(filled, "group")
        what = f"{folds} folds, but the images besides test form only {groups}, none of which is divided"
        fewer = f"use {filled} folds, or " if filled > 1 else ""
        raise UserError(what, where="data.folds", remedy=f"{fewer}name smaller groups (data.layout.group)")
    for kind in np.unique(labels):
        if len(np.unique(found[labels == kind])) < 2:
            what = f"all images of class '{names[kind]}' belong together (a group or copies): none is left to train on"
            remedy = "name smaller groups (data.layout.group), or leave folds out"
            raise UserError(what, where="data.folds", remedy=remedy)
