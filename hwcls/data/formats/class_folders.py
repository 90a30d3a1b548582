"""Images in class folders: train/<class>/*, val/<class>/* and test/<class>/*, in a folder or an archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwcls.data.catalog import DATA_SETS, DataSetSpec
from hwcls.data.formats.archive import FileTree, may_contain, open_tree
from hwcls.data.formats.image_types import LOOSE, LeftOut, is_image, list_folders, nfc, why_not_an_image
from hwcls.data.formats.raw import EncodedImages, RawData, RawSplit
from hwcls.errors import UserError, did_you_mean

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}  # what folders of a split are called, in any case
SPLIT_OF = {name: split for split, names in SPLITS.items() for name in names}
LAYOUT = (
    "the layout is train/<class>/*, and val/<class>/* or test/<class>/* or both"
    " (also training; valid, validation, dev; testing, eval)"
)
TABLES = (".csv", ".tsv", ".json", ".jsonl", ".xlsx", ".parquet")


def has_class_folders(path: Path) -> bool:
    """Whether `path` is an archive that may contain train/, or a folder that contains it, at most one folder deeper."""
    spelled = [form for name in SPLITS["train"] for form in (name, name.capitalize(), name.upper())]
    if not path.is_dir():
        return may_contain(path, *(form + slash for form in spelled for slash in "/\\"))
    places = (path, *path.iterdir())
    return any((place / form).is_dir() for place in places for form in spelled)


def read_class_folders(path: Path) -> RawData:
    """The data set in `path` or one folder deeper; where only one of val and test is there, it is the test split.

    Raises:
        UserError: No train folder, no val or test folder, two of one split, a class without images, or a class that
            train lacks.
    """
    tree = open_tree(path)
    root = _root(tree)
    folders = _split_folders(tree, root)
    held_out = [split for split in ("val", "test") if split in folders]
    if not held_out:
        what = f"no folder val/ or test/; it holds {_contents(tree, root)}"
        raise UserError(what, where=f"{path}/{root}".rstrip("/"), remedy=LAYOUT)
    classes = tuple(sorted(set(map(nfc, tree.folders(f"{root}{folders['train']}/")))))
    if len(classes) < 2:
        where = f"{path}/{root}{folders['train']}"
        raise UserError(f"{len(classes)} class folders, two or more are needed", where=where, remedy=LAYOUT)
    splits: dict[str, RawSplit] = {}
    left_out: dict[str, LeftOut] = {}
    for split in ("train", *held_out):
        below = f"{root}{folders[split]}/"
        found = _read_split(tree, below, classes, left_out)
        splits["test" if split == held_out[-1] else split] = found
    left_out |= {name: why for name, why in tree.no_files.items() if name.startswith(root)}
    _note_other_folders(tree, root, set(folders.values()), left_out)
    return RawData(classes, splits, left_out=left_out)


def _read_split(tree: FileTree, below: str, classes: tuple[str, ...], left_out: dict[str, LeftOut]) -> RawSplit:
    """The images below a split's folder; notes in `left_out` the files that are none."""
    number = {name: i for i, name in enumerate(classes)}
    here = set(map(nfc, tree.folders(below)))
    for folder in sorted(here - set(classes)):
        remedy = did_you_mean(folder, classes)
        raise UserError(f"class '{folder}' has no folder in train/", where=f"{tree.where}/{below}", remedy=remedy)
    names, others = [], {}
    for name in tree.names:
        if name.startswith(below):
            if not is_image(name):
                others[name] = why_not_an_image(name)
            elif name.count("/", len(below)):
                names.append(name)
            else:
                others[name] = LOOSE
    labels = np.array([number[nfc(name[len(below) :].split("/")[0])] for name in names], np.int64)
    for folder in sorted(here - {classes[label] for label in np.unique(labels)}):
        inside = {name: why for name, why in others.items() if nfc(name).startswith(nfc(f"{below}{folder}/"))}
        what, remedy = "no images in this class folder", "fill or remove it"
        if inside:
            first = next(iter(inside.values()))
            what, remedy = f"{what}, but {first.what} ({len(inside):,})", first.remedy
        raise UserError(what, where=f"{tree.where}/{below}{folder}", remedy=remedy)
    if not names:
        raise UserError("no images", where=f"{tree.where}/{below}", remedy=LAYOUT)
    left_out |= others
    return RawSplit(EncodedImages(tree, names), labels)


def _note_other_folders(tree: FileTree, root: str, used: set[str], left_out: dict[str, LeftOut]) -> None:
    """Note the images below folders that are no split."""
    for folder in tree.folders(root):
        if folder not in used:
            why = LeftOut(f"images in {folder}/, which is no split", "move them into train/, val/ or test/")
            names = (name for name in tree.names if name.startswith(f"{root}{folder}/") and is_image(name))
            left_out |= dict.fromkeys(names, why)


def _split_folders(tree: FileTree, root: str) -> dict[str, str]:
    """The folder of each split that is there."""
    found: dict[str, str] = {}
    for folder in tree.folders(root):
        split = SPLIT_OF.get(folder.lower())
        if split in found:
            what = f"{found[split]}/ and {folder}/ are both {split}; it holds {_contents(tree, root)}"
            remedy = "join them, or rename one to train, val or test"
            raise UserError(what, where=f"{tree.where}/{root}".rstrip("/"), remedy=remedy)
        if split:
            found[split] = folder
    return found


def _root(tree: FileTree) -> str:
    """The path above train/: empty, or the one folder that contains it."""

    def has_train(below: str) -> bool:
        return any(SPLIT_OF.get(folder.lower()) == "train" for folder in tree.folders(below))

    if has_train(""):
        return ""
    deeper = [folder for folder in tree.folders() if has_train(f"{folder}/")]
    if len(deeper) == 1:
        return f"{deeper[0]}/"
    if deeper:
        raise UserError(f"several folders hold a train/: {', '.join(deeper)}", where=tree.where, remedy=LAYOUT)
    tables = [name for name in tree.names if "/" not in name and name.lower().endswith(TABLES)]
    table = f"; {tables[0]} is not read: sort the images into class folders by it" if tables else ""
    raise UserError(f"no folder train/; it holds {_contents(tree, '')}", where=tree.where, remedy=LAYOUT + table)


def _contents(tree: FileTree, root: str) -> str:
    """What lies in a folder of `tree`, in words."""
    counts = {
        folder: sum(name.startswith(f"{root}{folder}/") and is_image(name) for name in tree.names)
        for folder in tree.folders(root)
    }
    return list_folders(counts, [name[len(root) :] for name in tree.names if "/" not in name[len(root) :]])


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
