"""Opened images with pixels of more than 8 bits, some of which PIL reads only in part."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

GREY_WITH_ALPHA = "LA;16B"  # of PNGs, opened as RGBA
OTHER_BYTE = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", "RGB;16L": "RGB;16B", "RGBA;16L": "RGBA;16B",
              "RGB;16N": "RGB;16B", "RGBA;16N": "RGBA;16B",  # N is L on every machine torch runs on
              "RGBX;16B": "RGBX;16L", "RGBX;16L": "RGBX;16B", GREY_WITH_ALPHA: "RGBA"}  # fmt: skip


def is_wide(image: Image.Image) -> bool:
    """Whether an opened, not yet loaded image has more than 8 bits per value."""
    return image.mode[0] in "IF" or _colour_rawmode(image) is not None


def load_low_bytes(data: bytes, image: Image.Image) -> Image.Image | None:
    """The lower bytes of an opened image with 16 bits per colour, of which PIL keeps the upper ones; else None."""
    rawmode = _colour_rawmode(image)
    if rawmode is None:
        return None
    low = Image.open(io.BytesIO(data), formats=[str(image.format)])

    def other(args: Any) -> Any:
        return OTHER_BYTE[rawmode] if isinstance(args, str) else (OTHER_BYTE[rawmode], *args[1:])

    low.tile = [tile._replace(args=other(tile.args)) for tile in low.tile]  # the same bytes, read in the other order
    low.load()
    if rawmode == GREY_WITH_ALPHA:  # the upper and the lower byte of grey, then those of alpha
        _, grey, _, alpha = low.split()
        return Image.merge("RGBA", (grey, grey, grey, alpha))
    return low


def wide_values(block: Image.Image, low: Image.Image | None, unsigned: bool) -> np.ndarray:
    """The values of loaded wide pixels: (h, w), or (h, w, 3 or 4) of colours with their `low` bytes.

    Args:
        unsigned: 32-bit integers are unsigned, which PIL does not know.
    """
    values: np.ndarray = np.asarray(block)
    if low is not None:
        values = values.astype(np.uint16) << 8
        values |= np.asarray(low)
        return values
    return values.view(np.uint32) if unsigned and values.dtype == np.int32 else values


def is_unsigned(image: Image.Image) -> bool:
    """Whether a file's 32-bit integers are unsigned: TIFF's SampleFormat."""
    tags = getattr(image, "tag_v2", {})
    return image.mode == "I" and tuple(tags.get(258, ())) == (32,) and tuple(tags.get(339, (1,))) == (1,)


def _colour_rawmode(image: Image.Image) -> str | None:
    """How a file stores 16 bits per colour, where that can be read; else None."""
    args = [tile.args for tile in getattr(image, "tile", [])]
    rawmode = args[0] if args else None
    if isinstance(rawmode, tuple):
        rawmode = rawmode[0] if rawmode else None
    return rawmode if rawmode in OTHER_BYTE else None
