"""MNIST and Fashion-MNIST: the IDX files of http://yann.lecun.com/exdb/mnist, raw or gzipped."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from hwcls.data.raw import Raw, RawSplit
from hwcls.errors import UserError

FILES = {"train": "train", "test": "t10k"}


def idx_files(folder: Path) -> list[Path]:
    """The four IDX files in `folder`, or an empty list when one is missing."""
    found = []
    for prefix in FILES.values():
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            stem = folder / f"{prefix}-{kind}"
            here = [path for path in (stem, stem.with_name(stem.name + ".gz")) if path.is_file()]
            if not here:
                return []
            found.append(here[0])
    return found


def read_idx(path: Path) -> np.ndarray:
    """One IDX file of bytes as an array; raises UserError when it is not whole."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot be read ({error})", where=str(path), remedy="get it again") from None
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise UserError("not an IDX file of bytes", where=str(path), remedy="get it again")
    axes = data[3]
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", axes, 4)) if len(data) >= 4 + 4 * axes else ()
    body = len(data) - 4 - 4 * axes
    if not shape or body != int(np.prod(shape, dtype=np.int64)):
        raise UserError(f"truncated: {body} bytes of pixels for shape {shape}", where=str(path), remedy="get it again")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def read_idx_folder(folder: Path, classes: tuple[str, ...]) -> Raw:
    """The data set in `folder`; images (N, 28, 28, 1) uint8."""
    arrays = [read_idx(path) for path in idx_files(folder)]
    splits = {}
    for split, images, labels in zip(FILES, arrays[0::2], arrays[1::2], strict=True):
        if images.ndim != 3 or labels.shape != images.shape[:1] or (labels.size and int(labels.max()) >= len(classes)):
            raise UserError(f"the {split} images and labels do not belong together", where=str(folder))
        splits[split] = RawSplit(images[..., None], labels.astype(np.int64))
    return Raw(classes, splits)
