"""Opened images with pixels of more than 8 bits, some of which PIL reads only in part."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import BITSPERSAMPLE, PLANAR_CONFIGURATION

from hwcls.data.decoding.codecs import PLANES

GREY_WITH_ALPHA = "LA;16B"  # of PNGs, opened as RGBA
OTHER_BYTE = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", "RGB;16L": "RGB;16B", "RGBA;16L": "RGBA;16B",
              "RGB;16N": "RGB;16B", "RGBA;16N": "RGBA;16B",  # N is L on every machine torch runs on
              "RGBX;16B": "RGBX;16L", "RGBX;16L": "RGBX;16B", GREY_WITH_ALPHA: "RGBA"}  # fmt: skip

PREMULTIPLIED = {f"RGBa;16{order}": f"RGBA;16{order}" for order in "BLN"}  # of TIFFs; CMYK's inks span all 16 bits
SEPARATE = 2  # a TIFF's planar configuration


def is_wide(image: Image.Image) -> bool:
    """Whether an opened, not yet loaded image has more than 8 bits per value."""
    return image.mode[0] in "IF" or _colour_rawmode(image) is not None


def check_planes(image: Image.Image) -> None:
    """Raise ValueError for a TIFF whose colours lie in planes of 16 bits each, which PIL reads wrongly or in part."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(BITSPERSAMPLE, ())
    if tags.get(PLANAR_CONFIGURATION) == SEPARATE and len(bits) > 1 and max(bits) > 8:
        raise ValueError(PLANES)


def keep_premultiplied(image: Image.Image) -> bool:
    """Whether an opened image has 16-bit colours times alpha, which are then loaded as they are, not divided by it."""
    tiles = getattr(image, "tile", [])
    if not tiles or not isinstance(tiles[0].args, tuple) or tiles[0].args[0] not in PREMULTIPLIED:
        return False
    tiles[:] = [tile._replace(args=(PREMULTIPLIED[tile.args[0]], *tile.args[1:])) for tile in tiles]
    return True


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


def wide_values(block: Image.Image, low: Image.Image | None, unsigned: bool, premultiplied: bool) -> np.ndarray:
    """The values of loaded wide pixels: (h, w), or (h, w, 3 or 4) of colours with their `low` bytes.

    Args:
        unsigned: 32-bit integers are unsigned, which PIL does not know.
        premultiplied: Colours are stored times alpha; black where that is 0.
    """
    values: np.ndarray = np.asarray(block)
    if low is not None:
        values = values.astype(np.uint16) << 8
        values |= np.asarray(low)
        if premultiplied:
            colours, alpha = values[..., :3].astype(np.uint32), np.maximum(values[..., 3:], 1)
            values[..., :3] = np.minimum((colours * 65535 + alpha // 2) // alpha, 65535)
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
    rawmode = PREMULTIPLIED.get(str(rawmode), rawmode)
    return rawmode if rawmode in OTHER_BYTE else None
