"""MNIST and Fashion-MNIST: the IDX files of http://yann.lecun.com/exdb/mnist, raw or gzipped, or images in folders."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np

from hwcls.config.data import AugmentConfig, LayoutConfig
from hwcls.data.catalog import DATA_SETS, DataSetSpec, Download
from hwcls.data.formats.archive import MAX_FILE, FileTree, find_files, may_contain, open_tree, read_required_file
from hwcls.data.formats.image_types import is_image
from hwcls.data.formats.raw import RawData, RawSplit
from hwcls.data.own.known import may_be_known_folders, read_known_folders
from hwcls.errors import UserError

SPLITS = {"train": "train", "test": "t10k"}
DIGITS = tuple(str(digit) for digit in range(10))
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
FILES = [f"{prefix}-{kind}-ubyte" for prefix in SPLITS.values() for kind in ("images-idx3", "labels-idx1")]


def _matches(path: Path, classes: tuple[str, ...]) -> bool:
    return has_idx_files(path) or may_be_known_folders(path, classes)


def _read_as(name: str, path: Path, layout: LayoutConfig | None, classes: tuple[str, ...]) -> RawData:
    """The data set called `name`, from its own files or as images in class folders."""
    tree = open_tree(path)
    own = find_files(tree, [form for file in FILES for form in (file, f"{file}.gz")])
    if not own and any(map(is_image, tree.names)):
        return read_known_folders(path, layout, name, classes)
    return read_idx_files(path, classes)


def has_idx_files(path: Path) -> bool:
    """Whether `path` is an archive that may contain them, or a folder with the four files."""
    return may_contain(path, *FILES) or all(
        (path / name).is_file() or (path / f"{name}.gz").is_file() for name in FILES
    )


def read_idx_files(path: Path, classes: tuple[str, ...]) -> RawData:
    """The data set in a folder or an archive; images (N, 28, 28, 1) uint8.

    Raises:
        UserError: A file is missing or damaged, or images and labels do not match.
    """
    tree = open_tree(path)
    packed = {
        name.removesuffix(".gz"): place for name, place in find_files(tree, [f"{name}.gz" for name in FILES]).items()
    }
    places = packed | find_files(tree, FILES)
    missing = [name for name in FILES if name not in places]
    if missing:
        what = "this is not mnist or fashion_mnist" if not places else f"{missing[0]} is missing"
        raise UserError(what, where=str(path), remedy=f"the files are {', '.join(FILES)}, gzipped or not")
    arrays = [_read(tree, places[name]) for name in FILES]
    splits = {}
    for split, images, labels in zip(SPLITS, arrays[0::2], arrays[1::2], strict=True):
        if images.ndim != 3 or labels.shape != images.shape[:1] or (labels.size and int(labels.max()) >= len(classes)):
            raise UserError(f"the {split} images and labels do not match", where=str(path))
        splits[split] = RawSplit(images[..., None], labels.astype(np.int64))
    return RawData(classes, splits, tuple(places[name] for name in FILES))


def _read(tree: FileTree, name: str) -> np.ndarray:
    """One IDX file of bytes as an array."""
    where = f"{tree.where}/{name}"
    data = read_required_file(tree, name)
    if name.endswith(".gz"):
        try:
            unpack = zlib.decompressobj(wbits=31)
            data = unpack.decompress(data, MAX_FILE)
            if not unpack.eof:
                raise zlib.error("truncated, or too large")
        except zlib.error as error:
            raise UserError(f"cannot be read ({error})", where=where, remedy="get it again") from None
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise UserError("not an IDX file of bytes", where=where, remedy="get it again")
    axes = data[3]
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", axes, 4)) if len(data) >= 4 + 4 * axes else ()
    body = len(data) - 4 - 4 * axes
    if not shape or body != math.prod(shape):
        raise UserError(f"truncated: {body} bytes of pixels for shape {shape}", where=where, remedy="get it again")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _downloads(mirrors: tuple[str, ...], md5: dict[str, str]) -> tuple[Download, ...]:
    return tuple(Download(f"{name}.gz", tuple(f"{m}{name}.gz" for m in mirrors), md5[name]) for name in md5)


EXPECTS = f"a folder or an archive with {', '.join(FILES)}, gzipped or not, or with images in train/0/, test/0/, ..."

DATA_SETS.register("mnist")(
    DataSetSpec(
        "28x28 grey digits",
        lambda path: _read_as("mnist", path, None, DIGITS),
        lambda path: _matches(path, DIGITS),
        places=("MNIST/raw", "mnist", "mnist/*"),
        image_size=28,
        channels=1,
        expects=EXPECTS,
        read_layout=lambda path, layout: _read_as("mnist", path, layout, DIGITS),
        downloads=_downloads(
            ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
            {
                "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
                "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
                "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
            },
        ),
    )
)

DATA_SETS.register("fashion_mnist")(
    DataSetSpec(
        "28x28 grey clothes, 10 classes",
        lambda path: _read_as("fashion_mnist", path, None, CLOTHES),
        lambda path: _matches(path, CLOTHES),
        places=("FashionMNIST/raw", "fashion_mnist", "fashion_mnist/*"),
        image_size=28,
        channels=1,
        augment=AugmentConfig(crop=2, hflip=True),
        expects=EXPECTS,
        read_layout=lambda path, layout: _read_as("fashion_mnist", path, layout, CLOTHES),
        downloads=_downloads(
            (
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            ),
            {
                "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
                "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
                "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
            },
        ),
    )
)
