"""CIFAR-10: the binary or the Python version, each as an archive or a folder, or images in class folders.

Format: https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwcls.config.data import AugmentConfig, LayoutConfig
from hwcls.data.catalog import DATA_SETS, DataSetSpec, Download
from hwcls.data.formats.archive import find_files, may_contain, open_tree, read_required_file
from hwcls.data.formats.image_types import is_image
from hwcls.data.formats.raw import RawData, RawSplit
from hwcls.data.formats.restricted_pickle import read_pickle
from hwcls.data.own.known import may_be_known_folders, read_known_folders
from hwcls.errors import UserError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FILES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
SHAPE = (3, 32, 32)  # the red, green and blue planes
RECORD = 1 + 3 * 32 * 32  # the binary version: the label, then the planes


def is_cifar10(path: Path) -> bool:
    """Whether `path` is an archive that may contain it, a folder of either version, or a folder of the ten classes."""
    known = ("test_batch.bin", "test_batch")
    here = may_contain(path, *known) or any((path / name).exists() for name in known)
    return here or may_be_known_folders(path, CLASSES)


def read_cifar10(path: Path, layout: LayoutConfig | None = None) -> RawData:
    """The data set at `path`; images (N, 32, 32, 3) uint8, or files of any size in class folders.

    Raises:
        UserError: A file is missing or damaged, or the class folders are not those of CIFAR-10.
    """
    tree = open_tree(path)
    for ending, parse in ((".bin", _binary), ("", _python)):
        wanted = {split: [stem + ending for stem in stems] for split, stems in FILES.items()}
        places = find_files(tree, [name for names in wanted.values() for name in names])
        if not places:
            continue
        splits: dict[str, RawSplit] = {}
        for split, names in wanted.items():
            missing = [name for name in names if name not in places]
            if missing:
                raise UserError(f"{missing[0]} is missing", where=str(path), remedy="give all files of CIFAR-10")
            parts = [parse(read_required_file(tree, places[name]), f"{path}/{places[name]}") for name in names]
            images = np.concatenate([pixels for pixels, _ in parts]).reshape(-1, *SHAPE).transpose(0, 2, 3, 1)
            splits[split] = RawSplit(images, np.concatenate([labels for _, labels in parts]))  # (N, 32, 32, 3), (N,)
        return RawData(CLASSES, splits, tuple(places.values()))
    if any(map(is_image, tree.names)):
        return read_known_folders(path, layout, "cifar10", CLASSES)
    raise UserError("this is not cifar10: no data_batch_1, no images", where=str(path))


def _binary(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Planes (n, 3072) uint8 and labels (n,) int64 of one file of the binary version."""
    if not data or len(data) % RECORD:
        what = f"{len(data)} bytes, no multiple of {RECORD}"
        raise UserError(what, where=where, remedy="get it again")
    rows = np.frombuffer(data, np.uint8).reshape(-1, RECORD)
    return rows[:, 1:], _labels(rows[:, 0].astype(np.int64), len(rows), where)


def _python(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Planes (n, 3072) uint8 and labels (n,) int64 of one file of the Python version."""
    batch = read_pickle(data, where)
    planes, labels = batch.get("data"), batch.get("labels")
    width = RECORD - 1
    if not isinstance(planes, np.ndarray) or planes.dtype != np.uint8 or planes.shape[1:] != (width,):
        raise UserError(f"no array 'data' of uint8 (n, {width})", where=where, remedy="get it again")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise UserError("no list 'labels' of numbers", where=where, remedy="get it again")
    return planes, _labels(np.array(labels, np.int64), len(planes), where)


def _labels(labels: np.ndarray, count: int, where: str) -> np.ndarray:
    if len(labels) != count or not count or labels.min() < 0 or labels.max() >= len(CLASSES):
        raise UserError(f"{len(labels)} labels of {count} images, or one not in 0..9", where=where)
    return labels


DATA_SETS.register("cifar10")(
    DataSetSpec(
        "32x32 colour photos, 10 classes",
        read_cifar10,
        is_cifar10,
        read_layout=read_cifar10,
        places=(
            "cifar-10-batches-bin",
            "cifar-10-binary.tar.gz",
            "cifar-10-batches-py",
            "cifar-10-python.tar.gz",
            "cifar10",
            "cifar10/*",
            "cifar10-images",
        ),
        image_size=32,
        channels=3,
        augment=AugmentConfig(crop=4, hflip=True),
        expects="cifar-10-binary.tar.gz or cifar-10-python.tar.gz, the folder of either, "
        "or train/<class>/* and test/<class>/*",
        downloads=(
            Download(
                "cifar-10-binary.tar.gz",
                (
                    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                    "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
                ),
                "c32a1d4ab5d03f1284b67883e8d87530",
            ),
        ),
    )
)
