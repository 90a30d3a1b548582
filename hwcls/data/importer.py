"""Import of a data set from an archive or a folder, complete or not at all.

Images are decoded once to find damaged ones, and packed into one zip in the raw folder: one file instead of a hundred
thousand, read in place. Files of pixels (IDX, CIFAR batches) are copied as they are. Of a folder only the files that
were read are copied.
"""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import FileLock

from hwcls import files
from hwcls.config.data import LayoutConfig
from hwcls.data import disk
from hwcls.data.catalog import DATA_SETS, DataSetSpec, cache_folder, user_spec
from hwcls.data.decoding.check import ImageCheck, unreadable_images_error
from hwcls.data.decoding.image_sizes import ImageSizes
from hwcls.data.decoding.pixel_range import PixelRange
from hwcls.data.formats.archive import is_archive, walk_files
from hwcls.data.formats.image_types import LeftOut, is_image, nfc
from hwcls.data.formats.raw import RawData
from hwcls.data.own.listing import OWN_TABLE
from hwcls.data.own.write import cut_test, table_of
from hwcls.data.progress import ProgressMeter, ProgressReporter
from hwcls.errors import LayoutError, UserError, did_you_mean, nearest_path
from hwcls.synonyms import same_name


@dataclass(frozen=True)
class ImportResult:
    """Where a data set is now, and what was left out.

    Attributes:
        skipped: The images that cannot be read, with the reason.
        left_out: The files that are not images by their ending, or not in a class folder, with the reason.
        found: How images of a user's own were read, in plain sentences.
        pixel_range: What becomes 0 and 255 of the images of more than 8 bits; None where there are none.
        sizes: Of the training images; None where they are decoded already.
    """

    path: Path
    skipped: dict[str, str]
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    pixel_range: PixelRange | None = None
    sizes: ImageSizes | None = None
    found: tuple[str, ...] = ()


def import_data_set(
    name: str,
    path: Path | str,
    *,
    skip_corrupt: bool = False,
    overwrite: bool = False,
    report: ProgressReporter | None = None,
    layout: LayoutConfig | None = None,
    test: float | None = None,
) -> ImportResult:
    """Copy an archive or a folder into hwcls's raw folder, complete or not at all.

    Args:
        name: A data set that hwcls knows, or a new name for images in class folders.
        path: The data set itself, or a folder that contains it as a raw folder would.
        skip_corrupt: Leave out images that cannot be read, instead of an error that counts and names them.
        overwrite: Replace what was imported before under this name, once the new copy is complete.
        layout: How files of a user's own say class, split and group; None: as found.
        test: The share of the images that becomes the test split for good; None: it is cut by each sweep.

    Raises:
        UserError: It is not that data set, is damaged, does not fit on the disk, or was imported before.
    """
    name = nfc(name)
    spec, path = _importable_spec(name), Path(path).expanduser()
    if not os.path.exists(path):
        raise UserError("no such file or folder", where=str(path), remedy=nearest_path(path))
    here = _find_inside(name, spec, path)
    report = report or (lambda _: None)
    raw = _read(name, spec, here, layout, test, report)
    needed = _estimate_bytes(raw, here)
    target = cache_folder() / "raw" / name
    disk.make_cache_folder(target.parent)
    with FileLock(target.with_name(f".{name}.lock")):
        if find_imported(name) and not overwrite:
            what = f"{name} has been imported before"
            raise UserError(what, where=str(target), remedy="pass --overwrite to replace it")
        for stale in target.parent.iterdir():
            if re.fullmatch(rf"\.{re.escape(name)}\.\d+\.tmp", stale.name):  # we hold the lock: whoever made it is gone
                shutil.rmtree(stale)
        (building := target.with_name(f".{name}.{os.getpid()}.tmp")).mkdir()
        result = ImportResult(target, {}, raw.left_out, found=raw.found)
        try:
            disk.check_free_space(building, needed)
            if raw.image_files is not None:
                packed = building / f"{name}.zip"
                skipped, levels, sizes = _pack_images(raw, packed, skip_corrupt, report)
                result = replace(result, skipped=skipped, pixel_range=levels, sizes=sizes)
                _check_packed(spec, packed, str(here), skipped)
            else:
                _copy_files(raw, here, building)
            files.replace_folder(building, target)
        except OSError as error:
            if disk.is_disk_full(error):
                raise disk.disk_full_error(target.parent, needed) from None
            raise UserError(f"cannot be copied ({error})", where=str(here)) from None
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return result


def _copy_files(raw: RawData, here: Path, building: Path) -> None:
    """Copy files of pixels: an archive whole, of a folder those that were read."""
    if here.is_dir():
        for file in raw.other_files:
            shutil.copy2(here / file, building)
    else:
        shutil.copy2(here, building / here.name)


def find_imported(name: str) -> Path | None:
    """Where hwcls keeps the data set that was imported or downloaded as `name`; None where there is none."""
    target = cache_folder() / "raw" / nfc(name)
    return target if any(path.suffix != ".part" for path in target.glob("*")) else None  # .part: abandoned downloads


def _importable_spec(name: str) -> DataSetSpec:
    spec = DATA_SETS[name] if name in DATA_SETS.names() else user_spec(name)
    if spec is not None and spec.needs_path:
        remedy = "hwcls data import my_images PATH, then `data: {name: my_images}`"
        raise UserError("images of your own need a name of their own", remedy=remedy)
    if spec is None:
        raise UserError(f"'{name}' cannot be a name", remedy="letters, digits, then also _ . -")
    if spec.user_files and (near := same_name(name, DATA_SETS.names())):
        raise UserError(f"'{name}' would be taken for {near}", remedy=f"choose another name, or import it as {near}")
    if not spec.places:
        raise UserError(f"{name} needs no import", remedy=spec.description)
    return spec


def _find_inside(name: str, spec: DataSetSpec, path: Path) -> Path:
    """`path` itself, or the first place in it that matches."""
    inside = [found for place in spec.places for found in sorted(path.glob(place))] if path.is_dir() else []
    for place in (path, *inside):
        if (place == path and is_archive(path)) or spec.is_at(place):  # an archive is only known once it is read
            return place
    if spec.user_files or (path.is_dir() and any(is_image(found) for found, _ in walk_files(path))):
        return path  # read as it is, also for an error that says what lies there
    raise UserError(f"this is not {name}", where=str(path), remedy=f"expected {spec.expects}")


def _read(
    name: str,
    spec: DataSetSpec,
    here: Path,
    layout: LayoutConfig | None,
    test: float | None,
    report: ProgressReporter,
) -> RawData:
    try:
        raw = spec.read_as(here, layout)
        return raw if test is None else cut_test(name, raw, test, report)
    except LayoutError:
        raise  # it is a user's own, and its remedy an option
    except UserError as error:
        near = "" if name in DATA_SETS.names() else did_you_mean(name, DATA_SETS.names(), otherwise="")
        if not near:
            raise
        raise UserError(error.what, where=error.where, remedy=f"{error.remedy}; or {near}") from None


def _pack_images(
    raw: RawData, target: Path, skip_corrupt: bool, report: ProgressReporter
) -> tuple[dict[str, str], PixelRange | None, ImageSizes]:
    """Write the readable images and the other files into a zip.

    Returns:
        The unreadable images with the reason, the range of the images of more than 8 bits, and the training images'
        sizes.
    """
    images = raw.image_files
    assert images is not None
    tree = images.tree
    skipped: dict[str, str] = {}
    check = ImageCheck(tree, raw.splits["train"].images)
    meter = ProgressMeter(report, f"{target.stem}: images", len(images), "checked")
    with zipfile.ZipFile(target, "w") as archive:
        for folder in sorted({name.rpartition("/")[0] for name in images.names} - {""}):
            archive.writestr(zipfile.ZipInfo(f"{folder}/"), b"")  # so that a class left without images is noticed
        for name in raw.other_files:
            archive.writestr(zipfile.ZipInfo(name), tree.read(name))
        for done, (name, problem) in enumerate(check.run(images.names), 1):
            if problem is None:
                if skip_corrupt or not skipped:  # otherwise nothing is kept
                    archive.writestr(zipfile.ZipInfo(name), tree.read(name))
            else:
                skipped[name] = problem
            meter.update(done)
        if skipped and not skip_corrupt:
            raise unreadable_images_error(raw, skipped, "or leave them out: the same command with --skip-corrupt")
        if not raw.plain:
            archive.writestr(zipfile.ZipInfo(OWN_TABLE), table_of(raw, skipped))
    with open(target, "rb") as file:
        os.fsync(file.fileno())
    return skipped, check.pixel_range(), check.sizes


def _check_packed(spec: DataSetSpec, packed: Path, where: str, skipped: dict[str, str]) -> None:
    """Read the packed data set again, as leaving images out may have emptied a class."""
    if skipped:
        try:
            spec.read(packed)
        except UserError as error:
            what = f"{error.what} once the corrupt ones are left out ({len(skipped)})"
            raise UserError(what, where=error.where.replace(str(packed), where), remedy=error.remedy) from None


def _estimate_bytes(raw: RawData, here: Path) -> int:
    """About the bytes that a copy of `here` takes."""
    if not here.is_dir():
        return here.stat().st_size
    images = raw.image_files.names if raw.image_files is not None else []
    return sum((here / name).stat().st_size for name in (*raw.other_files, *images))
