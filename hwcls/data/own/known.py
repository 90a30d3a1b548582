"""A known data set as images in class folders: its classes in its order, whether the folders have names or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hwcls.config.data import LayoutConfig
from hwcls.data.formats.archive import may_contain
from hwcls.data.formats.raw import RawData
from hwcls.data.own.listing import OWN_TABLE
from hwcls.data.own.read import read_own_images
from hwcls.data.own.split_names import SPELLINGS
from hwcls.errors import UserError


def read_known_folders(path: Path, layout: LayoutConfig | None, name: str, classes: Sequence[str]) -> RawData:
    """Images of the data set `name` in folders or by a table; a class is its name or its number.

    Raises:
        UserError: There are no train and test, or the classes are not those of the data set.
    """
    raw = read_own_images(path, layout)
    where = str(path)
    numbers = {_plain(one): i for i, one in enumerate(classes)} | {str(i): i for i in range(len(classes))}
    known = {label: numbers.get(_plain(label)) for label in raw.classes}
    if other := [label for label, number in known.items() if number is None]:
        what = f"this is not {name}: a class '{other[0]}'"
        raise UserError(what, where=where, remedy=f"its classes are {', '.join(classes)}")
    if lacking := [one for i, one in enumerate(classes) if i not in known.values()]:
        what = f"this is not {name}: no class '{lacking[0]}'"
        raise UserError(what, where=where, remedy=f"its classes are {', '.join(classes)}")
    if len(known) > len(classes):
        raise UserError(f"two folders of one class of {name}: {', '.join(known)}", where=where)
    if "test" not in raw.splits:
        what = f"{name} has a test split, and here is none"
        raise UserError(what, where=where, remedy="give train/ and test/; or import it under a name of its own")
    order = np.array([known[label] for label in raw.classes], np.int64)
    splits = {split: replace(part, labels=order[part.labels]) for split, part in raw.splits.items()}
    plain = raw.plain and bool({classes[0], "0"} & set(raw.classes))  # as `may_be_known_folders` finds it
    return replace(raw, classes=tuple(classes), splits=splits, plain=plain)


def may_be_known_folders(path: Path, classes: Sequence[str]) -> bool:
    """Whether a folder has the first class in its training folder, or an archive may; by its name or as 0."""
    firsts = [f"{train}/{first}" for train in SPELLINGS["train"] for first in (classes[0], "0")]
    return may_contain(path, OWN_TABLE, *(f"{first}/" for first in firsts)) or any(
        (path / first).is_dir() for first in firsts
    )


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
