"""TinyImageNet in its official layout, as a folder or an archive; a sample of it is accepted.

The official test split has no public labels, so the official val is the test split here.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from hwcls.config.data import AugmentConfig
from hwcls.data.catalog import DATA_SETS, DataSetSpec, Download
from hwcls.data.formats.archive import FileTree, may_contain, open_tree, read_required_file
from hwcls.data.formats.image_types import is_image
from hwcls.data.formats.raw import EncodedImages, RawData, RawSplit
from hwcls.errors import UserError


def is_tinyimagenet(path: Path) -> bool:
    """Whether `path` is an archive that may contain it, or a folder in the official layout."""
    return may_contain(path, "val_annotations.txt") or (path / "val" / "val_annotations.txt").is_file()


def read_tinyimagenet(path: Path) -> RawData:
    """The data set at `path`; classes are sorted by their WordNet number and named by words.txt.

    Raises:
        UserError: Files of the layout are missing, or val has a class that train lacks.
    """
    tree = open_tree(path)
    annotations = [name for name in tree.names if name.endswith("val/val_annotations.txt")]
    if not annotations:
        raise UserError(
            "no val/val_annotations.txt", where=str(path), remedy="give the official tiny-imagenet-200 layout"
        )
    root = annotations[0].removesuffix("val/val_annotations.txt")

    train = [name for name in tree.names if name.startswith(root + "train/") and is_image(name)]
    wnid_of = [name[len(root) + len("train/") :].split("/")[0] for name in train]
    wnids = sorted(set(wnid_of))
    if not wnids:
        raise UserError("no images below train/", where=str(path), remedy="give the official tiny-imagenet-200 layout")
    number = {wnid: i for i, wnid in enumerate(wnids)}

    present = set(tree.names)
    test, test_labels = [], []
    for line in read_required_file(tree, annotations[0]).decode("utf-8", "replace").splitlines():
        file, wnid = [*line.split("\t"), ""][:2]
        if (name := f"{root}val/images/{file}") in present:
            if wnid not in number:
                raise UserError(f"val has class '{wnid}' that train lacks", where=f"{path}: {annotations[0]}")
            test.append(name)
            test_labels.append(number[wnid])
    if not test:
        raise UserError("no annotated images below val/images/", where=str(path))
    return RawData(
        _readable(tree, root, wnids),
        {
            "train": RawSplit(EncodedImages(tree, train), np.array([number[wnid] for wnid in wnid_of], np.int64)),
            "test": RawSplit(EncodedImages(tree, test), np.array(test_labels, np.int64)),
        },
        tuple(name for name in (annotations[0], f"{root}words.txt") if name in present),
    )


def _readable(tree: FileTree, root: str, wnids: list[str]) -> tuple[str, ...]:
    """The first word of each class in words.txt; a word that two classes share keeps its number."""
    if f"{root}words.txt" not in tree.names:
        return tuple(wnids)
    text = read_required_file(tree, f"{root}words.txt").decode("utf-8", "replace")
    lines = (line.partition("\t") for line in text.splitlines())
    word = {wnid: words.split(",")[0].strip() for wnid, _, words in lines}
    names = [word.get(wnid, wnid) for wnid in wnids]
    often = Counter(names)
    return tuple(name if often[name] == 1 else f"{name} ({wnid})" for name, wnid in zip(names, wnids, strict=True))


DATA_SETS.register("tinyimagenet")(
    DataSetSpec(
        "64x64 colour photos, 200 classes of ImageNet",
        read_tinyimagenet,
        is_tinyimagenet,
        places=("tiny-imagenet-200", "tiny-imagenet-200.zip", "tinyimagenet/*", "tiny-imagenet-200*.zip"),
        image_size=64,
        channels=3,
        augment=AugmentConfig(crop=8, hflip=True),
        expects="tiny-imagenet-200.zip or its folder, with train/, val/val_annotations.txt and words.txt",
        downloads=(
            Download(
                "tiny-imagenet-200.zip",
                ("http://cs231n.stanford.edu/tiny-imagenet-200.zip",),
                "90528d7ca1a48142e341f4ef8d21d0de",
            ),
        ),
    )
)
