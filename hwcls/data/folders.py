"""Images in class folders: train/<class>/*, val/<class>/* and test/<class>/*."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwcls.data.raw import Encoded, FolderTree, Raw, RawSplit, is_image
from hwcls.errors import UserError, did_you_mean

LAYOUT = "the layout is train/<class>/*, and val/<class>/* or test/<class>/* or both"


def read_folders(path: Path) -> Raw:
    """The data set below `path`; where only one of val and test is there, it is the test split.

    Raises:
        UserError: No train folder, nothing held out, a class without images, or a class that train lacks.
    """
    if not (path / "train").is_dir():
        raise UserError("no folder train/", where=str(path), remedy=LAYOUT)
    held_out = [split for split in ("val", "test") if (path / split).is_dir()]
    if not held_out:
        raise UserError("no folder val/ or test/", where=str(path), remedy=LAYOUT)
    tree = FolderTree(path)
    classes = _class_folders(path / "train")
    if len(classes) < 2:
        raise UserError(
            f"{len(classes)} class folders, two or more are needed", where=str(path / "train"), remedy=LAYOUT
        )
    number = {name: i for i, name in enumerate(classes)}
    splits = {}
    for split in ("train", *held_out):
        for folder in _class_folders(path / split):
            if folder not in number:
                remedy = did_you_mean(folder, classes)
                raise UserError(f"class '{folder}' has no folder in train/", where=str(path / split), remedy=remedy)
        names = [name for name in tree.names if name.startswith(f"{split}/") and name.count("/") > 1 and is_image(name)]
        labels = np.array([number[name.split("/")[1]] for name in names], np.int64)
        here = classes if split == "train" else _class_folders(path / split)
        for folder in here:
            if not (labels == number[folder]).any():
                raise UserError(
                    "no images in this class folder", where=str(path / split / folder), remedy="fill or remove it"
                )
        splits["test" if split == held_out[-1] else split] = RawSplit(Encoded(tree, names), labels)
    return Raw(classes, splits)


def _class_folders(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))
