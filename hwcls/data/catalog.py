"""The data sets that hwcls knows: what each is, where its raw files are, and how they are read."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from hwcls.config.data import AugmentConfig, DataConfig, LayoutConfig
from hwcls.data.formats.image_types import nfc
from hwcls.data.formats.raw import RawData
from hwcls.errors import UserError, did_you_mean, nearest_path, unreadable
from hwcls.registry import Registry

USER_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")  # what a user may call an imported data set


@dataclass(frozen=True)
class Download:
    """One file of a data set: its name in the raw folder, its mirrors in order, and its md5."""

    name: str
    urls: tuple[str, ...]
    md5: str


@dataclass(frozen=True)
class DataSetSpec:
    """What hwcls knows of a data set.

    Attributes:
        description: A few words, for `hwcls data list`.
        read: Parses the raw data at a path that `matches`; raises UserError.
        read_layout: The same for images in a layout that the user describes; None where it has only its own files.
        matches: Whether a path may hold the data set.
        places: Glob patterns below the raw folders, the best first.
        image_size, channels: None: as its files are.
        augment: Used where a sweep file has no `augment`; it must not change a class.
        expects: What `hwcls data import` takes, in words.
        downloads: Its files; empty where it cannot be downloaded.
        embedded: It needs no files, as it comes with hwcls or is generated; `read` gets an empty path.
        needs_path: It is read at `data.path` and found nowhere else.
        user_files: Its files are the user's, so that two folders of equal names, sizes and times may still differ.
    """

    description: str
    read: Callable[[Path], RawData]
    matches: Callable[[Path], bool] = lambda path: False
    places: tuple[str, ...] = ()
    image_size: int | None = None
    channels: int | None = None
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    expects: str = ""
    downloads: tuple[Download, ...] = field(default=(), repr=False)
    embedded: bool = False
    needs_path: bool = False
    user_files: bool = False
    read_layout: Callable[[Path, LayoutConfig], RawData] | None = None

    @property
    def in_raw_folders(self) -> bool:
        """Whether its files are looked for in the raw folders, and can be missing there."""
        return not (self.embedded or self.needs_path)

    def read_as(self, path: Path, layout: LayoutConfig | None) -> RawData:
        """The raw data at a path, by a layout where there is one; raises UserError."""
        if layout is None:
            return self.read(path)
        if self.read_layout is None:
            raise UserError("takes no layout", where=str(path), remedy="only images in folders or in a table have one")
        return self.read_layout(path, layout)

    def is_at(self, path: Path) -> bool:
        """Whether `path` matches; a path that cannot be read does not, as lost+found."""
        try:
            return self.matches(path)
        except OSError:
            return False


DATA_SETS: Registry[DataSetSpec] = Registry(
    "data set",
    {
        "digits": "hwcls.data.formats.digits",
        "mnist": "hwcls.data.formats.idx",
        "fashion_mnist": "hwcls.data.formats.idx",
        "cifar10": "hwcls.data.formats.cifar",
        "tinyimagenet": "hwcls.data.formats.tinyimagenet",
        "imagefolder": "hwcls.data.own.read",
    },
)
USER_LAYOUT = "imagefolder"  # the layout of the data sets that users import under names of their choice


def cache_folder() -> Path:
    """Where stores and downloads go: HWCLS_CACHE, or the user's cache folder (on Linux ~/.cache/hwcls)."""
    if named := os.environ.get("HWCLS_CACHE"):
        return Path(named)
    from platformdirs import user_cache_path

    return user_cache_path("hwcls", appauthor=False)


def raw_folders() -> list[Path]:
    """Where raw data is looked for: first what was downloaded or imported, then HWCLS_DATA."""
    named = os.environ.get("HWCLS_DATA")
    return [cache_folder() / "raw", *([Path(named)] if named else [])]


def find_data_set(name: str, where: str = "data.name") -> DataSetSpec:
    """The description of the data set called `name`: a known one, or class folders of that name in a raw folder.

    Raises:
        UserError: There is neither; the error suggests the nearest name. `where` is where the name was given.
    """
    if name in DATA_SETS.names():
        return DATA_SETS[name]
    own = user_spec(name := nfc(name))
    if own is None or _find(own) is None:
        names = [entry["name"] or "" for entry in list_data_sets()]
        remedy = did_you_mean(name, names, nearest_path(Path(name)) if "/" in name else "")
        remedy = remedy or f"known: {', '.join(names)}; images of your own: hwcls data import NAME PATH"
        raise UserError(f"unknown data set '{name}'", where=where, remedy=remedy)
    return own


def find_config_spec(config: DataConfig) -> DataSetSpec:
    """The description of `config`'s data set; raises UserError where there is none or where it takes no `path`."""
    spec = find_data_set(config.name)
    if config.path is not None and not spec.needs_path:
        takers = " or ".join(name for name, other in DATA_SETS.all().items() if other.needs_path)
        raise UserError(
            f"{config.name} takes no path, only {takers} does",
            where="data.path",
            remedy=f"remove it, or write name: {takers}",
        )
    if config.layout is not None and not spec.user_files:
        remedy = "remove it; it is for images of your own"
        raise UserError(f"{config.name} takes no layout", where="data.layout", remedy=remedy)
    return spec


def user_spec(name: str) -> DataSetSpec | None:
    """The description of a user's class folders called `name`; None where that cannot be a name."""
    if not USER_NAME.fullmatch(name):
        return None
    layout, spellings = DATA_SETS[USER_LAYOUT], dict.fromkeys((name, unicodedata.normalize("NFD", name)))
    # folders of macOS have the second
    places = tuple(place for spelled in spellings for place in (spelled, f"{spelled}/*"))
    description = "images of your own"
    return replace(layout, description=description, places=places, needs_path=False, read=_read_kept)


def _read_kept(path: Path) -> RawData:
    """A user's data set in a raw folder; what an import packed without a table has class folders one deep."""
    imported = path == cache_folder() / "raw" / path.stem / path.name
    return DATA_SETS[USER_LAYOUT].read_as(path, LayoutConfig(class_depth=1) if imported else None)


def locate(name: str) -> Path | None:
    """Where the raw files of `name` are, or None; an embedded data set and one with a `path` have none."""
    return _find(find_data_set(name))


def locate_config(config: DataConfig) -> Path | None:
    """Where the raw files of `config`'s data set are; None where they are missing, `Path()` where it needs none.

    Raises:
        UserError: The data set is unknown, or `path` is not given where it is needed or does not exist.
    """
    spec = find_config_spec(config)
    if spec.embedded:
        return Path()
    if not spec.needs_path:
        return _find(spec)
    if config.path is None:
        raise UserError(f"{config.name} needs a path", where="data.path", remedy=spec.expects)
    path = Path(config.path).expanduser()
    if not os.path.exists(path):
        raise UserError(
            "no such folder or archive",
            where=f"data.path: {path}",
            remedy=nearest_path(path, "give the folder or the archive of the images"),
        )
    return path


def list_data_sets() -> list[dict[str, str | None]]:
    """Every data set, including the user's: its name, its description, and the path of its raw files if found."""
    specs = DATA_SETS.all()
    places = {name: _find(spec) for name, spec in specs.items()}
    taken = {path for path in places.values() if path}
    for folder in raw_folders():
        for path in _entries(folder):
            own = user_spec(name := nfc(path.name))
            place = _find(own) if own and os.path.isdir(path) and name not in specs else None
            if own and place and not any(place == known or known.is_relative_to(place) for known in taken):
                places[name], specs[name] = place, own
    found = {name: "embedded" if spec.embedded else str(places[name] or "") or None for name, spec in specs.items()}
    return [{"name": name, "what": spec.description, "found": found[name]} for name, spec in specs.items()]


def _find(spec: DataSetSpec) -> Path | None:
    for folder in raw_folders():
        for place in spec.places:
            for path in sorted(folder.glob(place)):
                if not path.name.startswith(".") and spec.is_at(path):
                    return path
    return None


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(error, folder) from None
