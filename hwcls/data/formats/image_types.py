"""Which files are images, by their names, and what to do about those that are not read."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

from hwcls.errors import install_extra

IMAGE_ENDINGS = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".gif", ".tif", ".tiff")
HEIC_ENDINGS, AVIF_ENDINGS = (".heic", ".heif", ".hif"), (".avif",)


class LeftOut(NamedTuple):
    """Why files are left out: what they are, in the plural, and the remedy."""

    what: str
    remedy: str


CONVERT = "convert them to PNG or JPEG"
HEIC = LeftOut("HEIC photos", f"install a decoder: {install_extra('heif')}; or convert them to JPEG")
AVIF = LeftOut("AVIF images", f"install a Pillow that reads AVIF, or {CONVERT}")
LOOSE = LeftOut("images outside a class folder", "move each into the folder of its class")
SPECIAL = LeftOut("pipes, sockets or devices", "save the images as files")
DANGLING = LeftOut("links to nothing", "restore what they point to, or remove them")
KINDS = {
    **dict.fromkeys(HEIC_ENDINGS, HEIC),
    **dict.fromkeys(AVIF_ENDINGS, AVIF),
    **dict.fromkeys((".jxl",), LeftOut("JPEG XL images", CONVERT)),
    **dict.fromkeys((".jp2", ".j2k", ".jpx", ".jpf"), LeftOut("JPEG 2000 images", CONVERT)),
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf"), LeftOut("camera raw files", CONVERT)),
    **dict.fromkeys((".dcm", ".dicom"), LeftOut("DICOM files", "convert them to PNG with 16 bits")),
    **dict.fromkeys((".npy", ".npz", ".mat", ".h5"), LeftOut("files of arrays", "write each image as PNG or TIFF")),
    **dict.fromkeys((".mp4", ".mov", ".avi", ".mkv", ".webm"), LeftOut("videos", "extract their frames as images")),
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"), LeftOut("archives", "unpack them")),
}


def nfc(name: str) -> str:
    """The one spelling of a name: macOS writes é as e and an accent (NFD), other systems as one letter (NFC)."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def is_image(name: str) -> bool:
    """Whether a file's ending is that of an image that this installation decodes."""
    return name.lower().endswith(IMAGE_ENDINGS + _optional_endings())


def why_not_an_image(name: str) -> LeftOut:
    """Why a file that `is_image` does not know is left out."""
    last = name.rpartition("/")[2]
    _, dot, ending = last.rpartition(".")
    if not dot:
        return LeftOut("files without an ending", "images need one, such as .jpg")
    words = f"files that are no images by their ending (.{ending.lower()})"
    return KINDS.get(f".{ending.lower()}", LeftOut(words, f"images end in {', '.join(IMAGE_ENDINGS[:4])}, ..."))


def summarise(left_out: Mapping[str, LeftOut]) -> list[str]:
    """One line for each kind of files that are left out: their number, the first of them, and the remedy."""
    groups: dict[LeftOut, list[str]] = {}
    for name, why in left_out.items():
        groups.setdefault(why, []).append(name)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return [f"left out: {why.what} ({len(names):,}), such as {names[0]} — {why.remedy}" for why, names in ordered]


def list_folders(counts: Mapping[str, int], files: Iterable[str], most: int = 6) -> str:
    """What lies in a folder, in words: `a/ (2 images), b/ (no image), labels.csv`."""
    words = {0: "no image", 1: "1 image"}
    parts = [f"{name}/ ({words.get(count, f'{count:,} images')})" for name, count in counts.items()] + list(files)
    return ", ".join(parts[:most]) + (f" and {len(parts) - most:,} more" if len(parts) > most else "") or "nothing"


@cache
def _optional_endings() -> tuple[str, ...]:
    from PIL import features

    heic = HEIC_ENDINGS if find_spec("pillow_heif") else ()
    return heic + (AVIF_ENDINGS if features.check("avif") else ())
