"""The data sets that hwcls knows: where their raw files lie and how they are read."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from hwcls.config.data import AugmentConfig, DataConfig
from hwcls.data.formats.cifar import is_cifar10, read_cifar10
from hwcls.data.formats.class_folders import LAYOUT, is_folders, read_folders
from hwcls.data.formats.digits import read_digits
from hwcls.data.formats.idx import FILES, is_idx, read_idx_files
from hwcls.data.formats.raw import Raw
from hwcls.data.formats.tinyimagenet import is_tinyimagenet, read_tinyimagenet
from hwcls.errors import UserError, did_you_mean

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
MNIST = tuple(str(digit) for digit in range(10))
OWN = re.compile(r"[A-Za-z0-9][\w.-]*")  # what a user may call an imported data set


@dataclass(frozen=True)
class Download:
    """One file of a data set: its name in the raw folder, its mirrors in order, and its md5."""

    name: str
    urls: tuple[str, ...]
    md5: str


@dataclass(frozen=True)
class Source:
    """A data set: `read` parses what lies at a place that `fits`."""

    what: str
    read: Callable[[Path], Raw]
    fits: Callable[[Path], bool]
    places: tuple[str, ...] = ()  # patterns below the raw folders, the best first
    image_size: int | None = None  # None: as its files are
    channels: int | None = None
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    expects: str = ""  # what `import` takes, in words
    downloads: tuple[Download, ...] = field(default=(), repr=False)

    def is_at(self, path: Path) -> bool:
        """Whether `path` fits; not where it may not be read, as lost+found."""
        try:
            return self.fits(path)
        except OSError:
            return False


IDX = f"a folder or an archive with {', '.join(FILES)}, gzipped or not"


def _idx(mirrors: tuple[str, ...], md5: dict[str, str]) -> tuple[Download, ...]:
    return tuple(Download(f"{name}.gz", tuple(f"{m}{name}.gz" for m in mirrors), md5[name]) for name in md5)


SOURCES: dict[str, Source] = {
    "digits": Source(
        "8x8 grey digits of scikit-learn, nothing to download", lambda _: read_digits(), lambda _: False, (), 8, 1
    ),
    "mnist": Source(
        "28x28 grey digits",
        lambda path: read_idx_files(path, MNIST),
        is_idx,
        ("MNIST/raw", "mnist", "mnist/*"),
        28,
        1,
        expects=IDX,
        downloads=_idx(
            ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
            {
                "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
                "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
                "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
            },
        ),
    ),
    "fashion_mnist": Source(
        "28x28 grey clothes, 10 classes",
        lambda path: read_idx_files(path, FASHION),
        is_idx,
        ("FashionMNIST/raw", "fashion_mnist", "fashion_mnist/*"),
        28,
        1,
        AugmentConfig(crop=2, hflip=True),
        IDX,
        _idx(
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
    ),
    "cifar10": Source(
        "32x32 colour photos, 10 classes",
        read_cifar10,
        is_cifar10,
        (
            "cifar-10-batches-bin",
            "cifar-10-binary.tar.gz",
            "cifar-10-batches-py",
            "cifar-10-python.tar.gz",
            "cifar10",
            "cifar10/*",
            "cifar10-images",
        ),
        32,
        3,
        AugmentConfig(crop=4, hflip=True),
        "cifar-10-binary.tar.gz or cifar-10-python.tar.gz, the folder of either, or train/<class>/* and test/<class>/*",
        (
            Download(
                "cifar-10-binary.tar.gz",
                (
                    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                    "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
                ),
                "c32a1d4ab5d03f1284b67883e8d87530",
            ),
        ),
    ),
    "tinyimagenet": Source(
        "64x64 colour photos, 200 classes of ImageNet",
        read_tinyimagenet,
        is_tinyimagenet,
        ("tiny-imagenet-200", "tiny-imagenet-200.zip", "tinyimagenet/*", "tiny-imagenet-200*.zip"),
        64,
        3,
        AugmentConfig(crop=8, hflip=True),
        "tiny-imagenet-200.zip or its folder, with train/, val/val_annotations.txt and words.txt",
        (
            Download(
                "tiny-imagenet-200.zip",
                ("http://cs231n.stanford.edu/tiny-imagenet-200.zip",),
                "90528d7ca1a48142e341f4ef8d21d0de",
            ),
        ),
    ),
    "imagefolder": Source(
        "your images in class folders, at data.path",
        read_folders,
        is_folders,
        augment=AugmentConfig(hflip=True),
        expects=f"a folder or an archive; {LAYOUT}",
    ),
}
EMBEDDED = ("digits",)


def cache_folder() -> Path:
    """Where stores and downloads go: HWCLS_CACHE, or ~/.cache/hwcls."""
    return Path(os.environ.get("HWCLS_CACHE") or Path.home() / ".cache" / "hwcls")


def raw_folders() -> list[Path]:
    """Where raw data is looked for: what was fetched or imported, a deliberate act, and then HWCLS_DATA."""
    named = os.environ.get("HWCLS_DATA")
    return [cache_folder() / "raw", *([Path(named)] if named else [])]


def source_of(name: str, where: str = "data.name") -> Source:
    """The source called `name`: one that hwcls knows, or class folders that lie under that name in a raw folder.

    Raises:
        UserError: There is neither; the nearest name is said. `where` is where the name was given.
    """
    if name in SOURCES:
        return SOURCES[name]
    own = own_source(name)
    if own is None or _find(own) is None:
        remedy = did_you_mean(name, [entry["name"] or "" for entry in list_data()])
        remedy += "; images of your own: hwcls data import NAME PATH" if remedy.startswith("known") else ""
        raise UserError(f"unknown data set '{name}'", where=where, remedy=remedy)
    return own


def own_source(name: str) -> Source | None:
    """The source of a user's class folders called `name`; None where that is no name."""
    if not OWN.fullmatch(name):
        return None
    return replace(SOURCES["imagefolder"], what="images of your own", places=(name, f"{name}/*"))


def locate(name: str) -> Path | None:
    """Where the raw files of `name` lie, or None."""
    return _find(source_of(name))


def locate_folder(config: DataConfig) -> Path:
    """The folder or the archive of an imagefolder; raises UserError when `path` is not given or not there."""
    if config.path is None:
        raise UserError("imagefolder needs a path", where="data.path", remedy=SOURCES["imagefolder"].expects)
    path = Path(config.path).expanduser()
    if not os.path.exists(path):
        raise UserError("no such folder or archive", where=f"data.path: {path}", remedy="give what holds train/")
    return path


def list_data() -> list[dict[str, str | None]]:
    """Every data set, also a user's own: its name, what it is, and where its raw files were found, if anywhere."""
    places = {name: _find(source) for name, source in SOURCES.items()}
    taken = {path for path in places.values() if path}
    whats = {name: source.what for name, source in SOURCES.items()}
    for folder in raw_folders():
        for path in _entries(folder):
            own = own_source(name := path.name)
            place = _find(own) if own and os.path.isdir(path) and name not in whats else None
            if own and place and not any(place == known or known.is_relative_to(place) for known in taken):
                places[name], whats[name] = place, own.what
    found = {name: "embedded" if name in EMBEDDED else str(place or "") or None for name, place in places.items()}
    return [{"name": name, "what": whats[name], "found": found[name]} for name in places]


def _find(source: Source) -> Path | None:
    for folder in raw_folders():
        for place in source.places:
            for path in sorted(folder.glob(place)):
                if not path.name.startswith(".") and source.is_at(path):
                    return path
    return None


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})", where=str(folder)) from None
