"""Decoded data sets on this node's disk: built once, opened in a millisecond, shared through the page cache.

A store is a folder `stores/<name>-<key>` with, per split, `<split>.images.npy` (N, H, W, C) uint8, `<split>.labels.npy`
(N,) int64, `<split>.sums.npy` (N, 2, C) int64 (the pixels' sums and sums of squares) and `<split>.digests.npy` (N,)
uint64 (BLAKE2b of each image), and `meta.json`, with every file's size, the hashes of all but the images, and the range
by which pixels of more than 8 bits were scaled (null: there are none). The key is a hash of the raw files' names, sizes
and times (of the user's files: of images and tables, and of their path) and of the decode settings.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock

from hwcls import files
from hwcls.config.data import PLAIN_INPUTS, DataConfig, LayoutConfig
from hwcls.data import catalog, disk, integrity
from hwcls.data.cache import leases
from hwcls.data.cache.limit import STORES, make_room, tree_bytes, unfinished_folder
from hwcls.data.decoding.codecs import SKIP, skip_remedy
from hwcls.data.decoding.pixel_range import PixelRange, UnknownRangeError
from hwcls.data.decoding.resizing import Resizing
from hwcls.data.decoding.shards import ARRAYS, RECORD, Shape, Unfinished, decode_split, finish_split
from hwcls.data.enlarged import EnlargedImages
from hwcls.data.fetch import fetch_data_set
from hwcls.data.formats.archive import walk_files
from hwcls.data.formats.image_types import KINDS, is_image, summarise, why_not_an_image
from hwcls.data.formats.raw import EncodedImages, RawData, UnusableImagesError
from hwcls.data.own.tables import is_table
from hwcls.data.progress import ProgressMeter, ProgressReporter
from hwcls.errors import UserError
from hwcls.format import format_bytes, format_count, plain_name

FORMAT = 2  # raised when the layout, the decoding or the images' order changes
# the same for images of a user's own: 3 scales pixels of more than 8 bits by the set's own range, 4 reads classes that
# lie several folders deep
USER_FORMAT = 4


@dataclass(frozen=True)
class PixelStore:
    """An opened store; arrays are memory-mapped, the images read-only."""

    folder: Path
    meta: dict[str, Any]
    enlarged: Shape | None = None  # what its images are enlarged to when they are read

    @property
    def key(self) -> str:
        """What identifies its images as they are read."""
        larger = self.enlarged
        return f"{self.folder.name} {larger.size} {larger.resizing.key()}" if larger else self.folder.name

    @property
    def image_size(self) -> int:
        """The side of its images as they are read."""
        return self.enlarged.size if self.enlarged else int(self.meta["image_size"])

    def images(self, split: str) -> np.ndarray | EnlargedImages:
        """A split's images as they are read; raises UserError when their file is damaged."""
        stored = self.array(split, "images")
        return EnlargedImages(stored, self.enlarged.size, self.enlarged.resizing) if self.enlarged else stored

    def array(self, split: str, kind: str) -> np.ndarray:
        """One of ARRAYS of a split; raises UserError when its file is damaged."""
        path = self.folder / f"{split}.{kind}.npy"
        try:
            # a writable map must fit into memory, as if it were filled
            mode: Literal["r", "c"] = "r" if kind == "images" else "c"
            array: np.ndarray = np.load(path, mmap_mode=mode, allow_pickle=False)
            if len(array) != self.meta["splits"][split]["count"]:
                raise ValueError("of another length")
        except (OSError, ValueError, EOFError, TypeError) as error:
            remedy = f"remove {self.folder}, and it is decoded again"
            raise UserError(f"damaged ({error})", where=str(path), remedy=remedy) from None
        return array

    @property
    def pixel_range(self) -> PixelRange | None:
        """The range by which pixels of more than 8 bits were scaled; None where no training image has them."""
        return PixelRange.from_dict(self.meta.get("pixel_range"))

    @property
    def bytes(self) -> int:
        """What it takes on the disk."""
        return sum(sum(part["bytes"].values()) for part in self.meta["splits"].values())

    @property
    def splits(self) -> list[str]:
        """The splits that the raw data has: train, test and perhaps val."""
        return list(self.meta["splits"])

    def verify(self) -> list[str]:
        """One line per image, and per other array, whose BLAKE2b is not the recorded one.

        Raises:
            UserError: A file is so damaged that it is no array any more.
        """
        wrong = []
        for split in self.splits:
            for kind, digest in self.meta["splits"][split]["blake2b"].items():
                if integrity.hash_array(self.array(split, kind)) != digest:
                    wrong.append(f"{split}: the recorded {kind} have changed")
            images, digests = self.array(split, "images"), self.array(split, "digests")
            wrong += [f"{split}: image {row} has changed" for row in integrity.find_changed_images(images, digests)]
        return wrong

    def find_duplicates(self) -> list[integrity.Duplicate]:
        """Images with the same pixels as an earlier image of the data set, whatever split that is in."""
        labels, digests = ({split: self.array(split, kind) for split in self.splits} for kind in ("labels", "digests"))
        return integrity.find_duplicates(labels, digests)


def open_pixel_store(config: DataConfig, report: ProgressReporter | None = None) -> PixelStore:
    """The store of `config`'s data set, built now if this node has no complete one.

    Raises:
        UserError: The raw data is missing or damaged, or does not fit on the disk.
    """
    stored = _stored_config(config)
    store = _open_stored(stored, report)
    if stored is config or config.image_size is None:
        return store
    return replace(store, enlarged=Shape(config.image_size, store.meta["channels"], Resizing.of(config)))


def _stored_config(config: DataConfig) -> DataConfig:
    """`config`, or at their own size where a data set's images are smaller: they are enlarged when they are read.

    Where images are normalised by their own mean and std, these are of the enlarged pixels, which are kept then.
    """
    own = catalog.find_data_set(config.name).image_size
    given = isinstance(config.mean, tuple) and isinstance(config.std, tuple)
    if own is None or config.image_size is None or config.image_size <= own or not given:
        return config
    return config.model_copy(update={"image_size": None, "resize": "crop", "interpolation": None, "crop_pct": None})


def _open_stored(config: DataConfig, report: ProgressReporter | None) -> PixelStore:
    """The store of `config` itself, built now if there is no complete one."""
    place = _find_or_fetch(config, report)
    folder = _store_folder(config, place)
    leases.hold(folder)  # before it is looked for: from here on nobody removes it
    if store := _load_complete(folder):
        return store
    if (old := _store_folder(config, place, FORMAT)) != folder and _load_complete(old):
        why = "images of more than 8 bits are now scaled by the set's own range; whether it has any is not recorded"
        (report or (lambda _: None))(f"{config.title}: is decoded again: {why} in {old}, which can be removed")
    disk.make_cache_folder(folder.parent)
    leases.hold(folder)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if store := _load_complete(folder):
            return store
        report = report or (lambda _: None)
        spec = catalog.find_data_set(config.name)
        size, channels = config.image_size or spec.image_size, config.channels or spec.channels
        raw = spec.read_as(place, config.layout)
        try:
            _build_store(folder, config, raw, (size, channels), report)
        except UnusableImagesError as first:
            raise _name_all_unreadable(config, raw, first, report) from None
        for line in summarise(raw.left_out):
            report(f"{config.title}: {line}")
        store = PixelStore(folder, json.loads((folder / "meta.json").read_text(encoding="utf-8")))
        if found := store.find_duplicates():
            report(f"{config.title}: {integrity.describe_duplicates(found)}; `{verify_command(config)}` names them")
    return store


def has_pixel_store(config: DataConfig) -> bool:
    """Whether this node has the store of `config`'s data set, so that `open_pixel_store` neither fetches nor builds."""
    try:
        config, place = _stored_config(config), catalog.locate_config(config)
        return place is not None and _load_complete(_store_folder(config, place)) is not None
    except (UserError, OSError):
        return False


def store_bytes(images: int, size: int, channels: int) -> int:
    """About what a store takes on the disk."""
    return images * (size * size * channels + 16 * channels + 16)


def read_raw_data(config: DataConfig) -> RawData:
    """The data set before decoding, with the file names of its images."""
    return catalog.find_data_set(config.name).read_as(_find_or_fetch(config, None), config.layout)


def data_key(config: DataConfig) -> str:
    """A name for the raw files of `config`'s data set and their layout, whatever they are decoded to."""
    plain = DataConfig(name=config.name, path=config.path, layout=config.layout)
    return _store_folder(plain, _find_or_fetch(plain, None)).name


def _load_complete(folder: Path) -> PixelStore | None:
    """The store in `folder`, if its meta.json is readable and every file has the recorded size."""
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        sizes = {
            f"{split}.{kind}.npy": part["bytes"][kind] for split, part in meta["splits"].items() for kind in ARRAYS
        }
        complete = all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return PixelStore(folder, meta) if complete else None


def _name_all_unreadable(
    config: DataConfig, raw: RawData, first: UnusableImagesError, report: ProgressReporter
) -> UserError:
    """The error of all images that cannot be read, with the command that leaves them out."""
    from hwcls.data.decoding.check import name_all_unreadable

    skip = SKIP
    if config.path is not None:  # by a name that is no folder beside: `hwcls init photos` would read photos/ again
        skip = skip_remedy(f"{plain_name(config.title)}_readable", config.path, _layout_options(config))
    return name_all_unreadable(raw, first, skip, config.title, report)


def _layout_options(config: DataConfig) -> list[str]:
    """The layout as options of a command."""
    entries = config.layout.model_dump(exclude_none=True) if config.layout else {}
    return [word for key, value in entries.items() for word in (f"--{key.replace('_', '-')}", str(value))]


def verify_command(config: DataConfig) -> str:
    """The command that verifies this store and names its copies."""
    words = ["hwcls", "data", "verify", config.name, *(["--path", config.path] if config.path else [])]
    usual = {"image_size": None, "channels": None, "resize": "crop", **PLAIN_INPUTS}
    for key in ("image_size", "channels", "resize", "interpolation", "crop_pct"):
        if (value := getattr(config, key)) not in (usual[key], None):
            words += ["--set", f"{key}={value}"]
    return shlex.join([*words, *_layout_options(config)])


def _find_or_fetch(config: DataConfig, report: ProgressReporter | None) -> Path:
    """The path of the raw files, downloaded now if they are missing."""
    place = catalog.locate_config(config)
    if place is None:
        place = fetch_data_set(config.name, report)
    assert place is not None
    return place


def _store_folder(config: DataConfig, place: Path, version: int | None = None) -> Path:
    """The folder of the store of the raw files at `place`, as this version of hwcls builds it or an earlier one."""
    spec = catalog.find_data_set(config.name)
    size, channels = config.image_size or spec.image_size, config.channels or spec.channels
    if spec.embedded:
        found: list[tuple[str, os.stat_result]] = []
    else:
        found = list(walk_files(place)) if place.is_dir() else [(place.name, place.stat())]
    if spec.user_files and place.is_dir():
        found = [(name, status) for name, status in found if _may_be_data(name, config.layout)]
    listing = [[name, status.st_size, status.st_mtime_ns] for name, status in found]
    # a known data set may move; two folders of a user's may hold files of the same names, sizes and times
    where = str(place.resolve()) if spec.user_files else ""
    version = version or (USER_FORMAT if spec.user_files else FORMAT)
    settings = [version, config.name, where, listing, size, channels, *_layout_key(config)]
    text = json.dumps([*settings, *Resizing.of(config).key()])
    key = f"{config.name}-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"
    return catalog.cache_folder() / STORES / key


def _may_be_data(name: str, layout: LayoutConfig | None) -> bool:
    """Whether a user's file may hold pixels or labels: notes and sweep files beside the images change nothing."""
    named = layout.table.rpartition("/")[2] if layout and layout.table else None  # a table of any ending
    is_known = is_image(name) or is_table(name) or why_not_an_image(name) in KINDS.values()
    return is_known or name.rpartition("/")[2] == named


def _layout_key(config: DataConfig) -> list[Any]:
    """What a store's key has of the layout: its entries, and the size and time of a table outside of the data."""
    if config.layout is None:
        return []
    table = Path(config.layout.table or "")
    status = table.stat() if table.is_absolute() and table.is_file() else None
    written = config.layout.model_dump(exclude_none=True, exclude={"label"})
    return [written, [status.st_size, status.st_mtime_ns] if status else None]


def _build_store(
    folder: Path, config: DataConfig, raw: RawData, asked: tuple[int | None, int | None], report: ProgressReporter
) -> None:
    """Decode `raw` into `folder`; continues what an earlier process left unfinished.

    What is decoded when an error ends it is kept, unless its source cannot stay as it is.
    """
    size, channels = _image_shape(raw, *asked)
    shape = Shape(size, channels, Resizing.of(config))
    for stale in folder.parent.glob(f".{folder.name}.*.tmp"):  # of an earlier version; we hold the lock
        shutil.rmtree(stale, ignore_errors=True)
    building = unfinished_folder(folder)
    leases.hold(building)
    total = sum(len(split.labels) for split in raw.splits.values())
    needed = store_bytes(total, size, channels)
    unfinished = Unfinished.open(building, raw, shape)
    missing = max(0, needed - tree_bytes(building))
    report(f"{config.title}: {_describe_work(unfinished, total, shape, needed)} in {folder.parent}")
    make_room(missing, report)
    disk.check_free_space(folder.parent, missing)
    try:
        building.mkdir(exist_ok=True)
        meta: dict[str, Any] = {"format": FORMAT, "name": config.name, "classes": raw.classes}
        meta |= {"image_size": size, "channels": channels, "found": raw.found}
        how = shape.resizing
        meta |= {"resize": how.how, "interpolation": how.interpolation, "crop_pct": how.crop_pct}
        meta["splits"] = _decode_splits(unfinished, config.title, raw, shape, report)
        meta["pixel_range"] = unfinished.levels and unfinished.levels.to_dict()
        files.write_json(building / "meta.json", meta)
        if folder.exists():  # incomplete
            shutil.rmtree(folder)
        os.replace(building, folder)
        (folder / RECORD).unlink(missing_ok=True)
        files.sync_folder(folder.parent)
    except Exception as error:
        if isinstance(error, UnusableImagesError) or not any(unfinished.done.values()):
            files.remove(building)
        if disk.is_disk_full(error):
            raise disk.disk_full_error(folder.parent, missing) from None
        raise


def _describe_work(unfinished: Unfinished, total: int, shape: Shape, needed: int) -> str:
    """What will be decoded, in words, and what it takes."""
    how = f" ({shape.resizing})" if str(shape.resizing) else ""
    images = format_count(total, "image")
    what = f"{images} decoded to {shape.size} x {shape.size}{how} will take {format_bytes(needed)}"
    done = sum(unfinished.done.values())
    return f"{what}; {done:,} of them are there already," if done else what


def _decode_splits(
    unfinished: Unfinished, title: str, raw: RawData, shape: Shape, report: ProgressReporter
) -> dict[str, Any]:
    """Decode what is missing of every split; returns meta.json's list of them."""

    def decode_all() -> None:
        for split, part in raw.splits.items():
            meter = ProgressMeter(report, f"{title}: {split}", len(part.labels), "images decoded")
            decode_split(unfinished, split, part, shape, meter)

    try:
        decode_all()
    except UnknownRangeError:  # the first image of more than 8 bits: only now are all of them looked at
        unfinished.levels = _measure_range(raw)
        unfinished.record()
        report(f"{title}: {unfinished.levels.describe()}")
        decode_all()  # images of 8 bits, which are there, do not depend on the range
    return {split: finish_split(unfinished, split, part.labels) for split, part in raw.splits.items()}


def _measure_range(raw: RawData) -> PixelRange:
    """The range of the training images of more than 8 bits; where there are none, of all."""
    from hwcls.data.decoding.decode import measure_range

    everything, train = raw.image_files, raw.splits["train"].images
    assert everything is not None  # only files have more than 8 bits
    found = (measure_range(train) if isinstance(train, EncodedImages) else None) or measure_range(everything)
    assert found is not None
    return found


def _image_shape(raw: RawData, size: int | None, channels: int | None) -> tuple[int, int]:
    """The stored side and channels; those of the files where they are not given."""
    images = raw.splits["train"].images
    if size is not None and channels is not None:
        return size, channels
    from hwcls.data.decoding.decode import measure_images

    if not isinstance(images, EncodedImages):
        return size or images.shape[1], channels or images.shape[3]
    sizes, found = measure_images(images)
    # earlier versions took the files' own side and recorded none; where they have none in common, it is chosen
    return size or sizes.shared_side or sizes.side_from_scratch, channels or found
