"""CIFAR-10: the binary archive, its folder, or images in class folders.

Format: https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwcls.data.folders import read_folders
from hwcls.data.raw import Raw, RawSplit, open_tar
from hwcls.errors import UserError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FILES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
RECORD = 1 + 3 * 32 * 32  # label, then the red, green and blue planes


def is_cifar10(path: Path) -> bool:
    """Whether `path` is the binary archive, its folder, or a folder of the ten classes."""
    if path.is_file():
        return path.name.endswith((".tar.gz", ".tgz", ".tar")) and "binary" in path.name
    return (path / "test_batch.bin").is_file() or (path / "train" / CLASSES[0]).is_dir()


def read_cifar10(path: Path) -> Raw:
    """The data set at `path`; images (N, 32, 32, 3) uint8, or files of any size in class folders."""
    if (path / "train").is_dir():
        return read_folders(path)
    if path.is_dir():
        records = {
            name: (path / name).read_bytes() for files in FILES.values() for name in files if (path / name).is_file()
        }
    else:
        with open_tar(path) as archive:
            members = {Path(member.name).name: member for member in archive if member.isfile()}
            wanted = [name for files in FILES.values() for name in files if name in members]
            records = {name: archive.extractfile(members[name]).read() for name in wanted}  # type: ignore[union-attr]
    return Raw(CLASSES, {split: _split(path, files, records) for split, files in FILES.items()})


def _split(path: Path, files: list[str], records: dict[str, bytes]) -> RawSplit:
    parts = []
    for name in files:
        data = records.get(name)
        if not data or len(data) % RECORD:
            what = "is missing" if data is None else f"has {len(data)} bytes, no multiple of {RECORD}"
            raise UserError(f"{name} {what}", where=str(path), remedy="give the whole cifar-10-binary.tar.gz")
        parts.append(np.frombuffer(data, np.uint8).reshape(-1, RECORD))
    rows = np.concatenate(parts)
    labels = rows[:, 0].astype(np.int64)
    if labels.max() >= len(CLASSES):
        raise UserError("a label above 9", where=str(path), remedy="give the CIFAR-10 binary version")
    images = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # (N, 32, 32, 3)
    return RawSplit(images, labels)
