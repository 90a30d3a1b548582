"""Images in class folders: train/<class>/*, val/<class>/* and test/<class>/*, in a folder or an archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwcls.data.catalog import DATA_SETS, DataSetSpec
from hwcls.data.formats.archive import FileTree, is_image, may_contain, open_tree
from hwcls.data.formats.raw import EncodedImages, RawData, RawSplit
from hwcls.errors import UserError, did_you_mean

LAYOUT = "the layout is train/<class>/*, and val/<class>/* or test/<class>/* or both"


def has_class_folders(path: Path) -> bool:
    """Whether `path` is an archive that may contain train/, or a folder that contains it, at most one folder deeper."""
    return (
        may_contain(path, "train/", "train\\")
        or (path / "train").is_dir()
        or (path.is_dir() and any(path.glob("*/train/")))
    )


def read_class_folders(path: Path) -> RawData:
    """The data set in `path` or one folder deeper; where only one of val and test is there, it is the test split.

    Raises:
        UserError: No train folder, no val or test folder, a class without images, or a class that train lacks.
    """
    tree = open_tree(path)
    root = _root(tree)
    held_out = [split for split in ("val", "test") if split in tree.folders(root)]
    if not held_out:
        raise UserError("no folder val/ or test/", where=f"{path}/{root}".rstrip("/"), remedy=LAYOUT)
    classes = tuple(tree.folders(f"{root}train/"))
    if len(classes) < 2:
        where = f"{path}/{root}train"
        raise UserError(f"{len(classes)} class folders, two or more are needed", where=where, remedy=LAYOUT)
    number = {name: i for i, name in enumerate(classes)}
    splits: dict[str, RawSplit] = {}
    passed_over: list[str] = []
    for split in ("train", *held_out):
        below = f"{root}{split}/"
        here = tree.folders(below)
        for folder in here:
            if folder not in number:
                remedy = did_you_mean(folder, classes)
                raise UserError(f"class '{folder}' has no folder in train/", where=f"{path}/{below}", remedy=remedy)
        names: list[str] = []
        for name in tree.names:
            if name.startswith(below):
                (names if name.count("/", len(below)) and is_image(name) else passed_over).append(name)
        labels = np.array([number[name[len(below) :].split("/")[0]] for name in names], np.int64)
        for folder in sorted(set(here) - {classes[label] for label in np.unique(labels)}):
            where = f"{path}/{below}{folder}"
            raise UserError("no images in this class folder", where=where, remedy="fill or remove it")
        if not names:
            raise UserError("no images", where=f"{path}/{below}", remedy=LAYOUT)
        splits["test" if split == held_out[-1] else split] = RawSplit(EncodedImages(tree, names), labels)
    return RawData(classes, splits, passed_over=tuple(passed_over))


def _root(tree: FileTree) -> str:
    """The path above train/: empty, or the one folder that contains it."""
    if "train" in tree.folders():
        return ""
    deeper = [folder for folder in tree.folders() if "train" in tree.folders(f"{folder}/")]
    if len(deeper) != 1:
        here = ", ".join(f"{folder}/" for folder in tree.folders()[:5]) or "none"
        what = (
            f"several folders hold a train/: {', '.join(deeper)}" if deeper else f"no folder train/ (folders: {here})"
        )
        raise UserError(what, where=tree.where, remedy=LAYOUT)
    return f"{deeper[0]}/"


DATA_SETS.register("imagefolder")(
    DataSetSpec(
        "your images in class folders, at data.path",
        read_class_folders,
        has_class_folders,
        expects=f"a folder or an archive; {LAYOUT}",
        needs_path=True,
        user_files=True,
    )
)
