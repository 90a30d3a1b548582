"""Which image formats are decoded, and what a file is that none of them reads."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec

from hwcls.data.formats.image_types import AVIF, CONVERT, HEIC

FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "PPM", "GIF", "TIFF")  # others run programs or nest images
PLANES = "has 16 bits per colour in separate planes"  # the problem of a TIFF
MAX_PIXELS = 89_478_485  # more counts as a bomb; PIL would start to warn here
BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), ("HEIC", "HEIF")),
    **dict.fromkeys((b"avif", b"avis"), ("AVIF", "AVIF")),
}  # how these files begin, what they are, and PIL's name for the decoder
UNKNOWN = "of no known image format"
REMEDIES = {
    "HEIC": HEIC.remedy,
    "AVIF": AVIF.remedy,
    "JPEG XL": CONVERT,
    "is a web page": "download it again",
    "is a Git LFS pointer": "git lfs pull",
    PLANES: "save it with interleaved colours, as `tiffcp -p contig IN OUT` does",
    "unpacks to": f"scale it to at most {MAX_PIXELS // 1_000_000} million pixels",
}  # by the beginning of the problem


def skip_remedy(name: str = "NAME", path: str = "PATH", options: Sequence[str] = ()) -> str:
    """The remedy that leaves out images that cannot be read: an import, and what then uses it."""
    command = shlex.join(["hwcls", "data", "import", name, path, "--skip-corrupt", *options])
    return f"or leave out such images: {command}, then hwcls init {name} or data: {{name: {name}}}"


SKIP = skip_remedy()  # where the data set's path and name are not known


def known_formats(data: bytes) -> tuple[str, ...]:
    """The formats that an image file may have here: HEIC and AVIF where a decoder is installed."""
    return FORMATS + _optional_formats() if data[4:8] == b"ftyp" else FORMATS


def describe_unknown(data: bytes) -> str:
    """What a file is that no decoder reads, by its first bytes."""
    start = data[:64]
    if not data:
        return "is empty"
    if start[4:8] == b"ftyp" and start[8:12] in BRANDS:
        name, decoder = BRANDS[start[8:12]]
        return f"damaged {name}" if decoder in _optional_formats() else f"{name} without a decoder"
    if start.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "JPEG XL"
    if start.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        return "is a web page"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer"
    return UNKNOWN


def remedy_for(problem: str) -> str | None:
    """What helps against this problem of an image, if it is not just damaged."""
    return next((remedy for start, remedy in REMEDIES.items() if problem.startswith(start)), None)


def count_problems(problems: Iterable[str], most: int = 3) -> str:
    """How many images have which problem, in words: `20: is empty; 6: of no known image format`."""
    kinds = (re.sub(r"^unpacks to \S+ pixels, (.*)", r"unpacks to \1 pixels", problem) for problem in problems)
    found = Counter(kinds).most_common()
    words = [f"{count:,}: {problem}" for problem, count in found[:most]]
    return "; ".join([*words, *([f"{sum(n for _, n in found[most:]):,}: otherwise"] if found[most:] else [])])


@cache
def _optional_formats() -> tuple[str, ...]:
    from PIL import features

    found: tuple[str, ...] = ("AVIF",) if features.check("avif") else ()
    if find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False)
        found += ("HEIF",)
    return found
