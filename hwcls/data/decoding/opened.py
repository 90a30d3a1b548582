"""One encoded image, decoded: any part of it as uint8 pixels, upright."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from hwcls.data.decoding import wide_pixels
from hwcls.data.decoding.codecs import MAX_PIXELS, describe_unknown, known_formats
from hwcls.data.decoding.memory import DECODED
from hwcls.data.decoding.pixel_range import PixelRange, RangeMeter, UnknownRangeError
from hwcls.data.decoding.resize import STRIP, Box

Image.MAX_IMAGE_PIXELS = None  # every image is checked against MAX_PIXELS, and refused instead of warned about
with contextlib.suppress(AttributeError):  # another Pillow
    # malloc gives back at once what is larger than 32 MB; smaller blocks of an image would stay with each thread
    Image.core.set_block_size(64 << 20)  # type: ignore[attr-defined]
GREY = ("1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
WHOLE_FRAMES = ("WEBP", "AVIF", "HEIF")  # decoded into a buffer of their own before PIL's
ORIENTATION = 0x0112  # the EXIF tag, from 1 (upright) to 8
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Pixels:
    """A decoded image: an array (H, W, C) uint8, or PIL's image, with its lower bytes where that has the upper ones."""

    source: np.ndarray | Image.Image
    low: Image.Image | None = None
    unsigned: bool = False
    premultiplied: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        if isinstance(self.source, np.ndarray):
            return self.source.shape[0], self.source.shape[1]
        return self.source.height, self.source.width

    @property
    def is_wide(self) -> bool:
        """Whether it has more than 8 bits per value."""
        return isinstance(self.source, Image.Image) and (self.low is not None or self.source.mode[0] in "IF")

    def read(self, box: Box, channels: int, levels: PixelRange | None) -> np.ndarray:
        """A part as (h, w, channels) uint8.

        Wide pixels are scaled by `levels`, transparent ones get a white background, colour becomes ITU-R 601 luma when
        one channel is asked for.

        Raises:
            UnknownRangeError: Wide pixels, and no `levels`.
        """
        top, left, bottom, right = box
        if isinstance(self.source, np.ndarray):
            return self.source[top:bottom, left:right]
        place = (left, top, right, bottom)
        everything = place == (0, 0, *self.source.size)
        part = self.source if everything else self.source.crop(place)
        if self.is_wide:
            if levels is None:
                raise UnknownRangeError("pixels of more than 8 bits, whose black and white are unknown")
            part = self._narrow(part, place, levels)
        pixels = np.asarray(_flatten(part, "L" if channels == 1 else "RGB"))
        return pixels[..., None] if pixels.ndim == 2 else pixels

    def measure(self, meter: RangeMeter) -> None:
        """Count the values of wide pixels, alpha left out."""
        assert isinstance(self.source, Image.Image)
        height, width = self.shape
        lines = max(1, STRIP // width)
        for top in range(0, height, lines):
            meter.add(self._values((0, top, width, min(top + lines, height)))[..., :3])

    def _values(self, place: tuple[int, int, int, int]) -> np.ndarray:
        assert isinstance(self.source, Image.Image)
        low = None if self.low is None else self.low.crop(place)
        found = wide_pixels.wide_values(self.source.crop(place), low, self.unsigned, self.premultiplied)
        return found[..., None] if found.ndim == 2 else found

    def _narrow(self, part: Image.Image, place: tuple[int, int, int, int], levels: PixelRange) -> Image.Image:
        """Wide pixels with 8 bits: grey, RGB, or RGBA with its alpha as it is."""
        values = self._values(place)
        eight = levels.scale(values[..., :3])
        if values.shape[2] == 4:
            eight = np.dstack([eight, np.asarray(part)[..., 3]])
        return Image.fromarray(eight[..., 0] if eight.shape[2] == 1 else eight)


@contextmanager
def open_pixels(data: bytes, channels: int) -> Iterator[Pixels]:
    """Decode an encoded image, upright by its EXIF tag; its share of the memory for pixels is held meanwhile.

    Raises:
        ValueError: The bytes are not a complete image of a known format, or claim more than 89 million pixels.
    """
    header = _plain_jpeg_header(data, channels)
    if header is not None:
        height, width, colours = header
        with DECODED.reserve(height * width * (1 if colours == "GRAY" else 3)):
            try:
                pixels = _simplejpeg().decode_jpeg(data, colorspace=colours)
            except ValueError:
                pixels = None  # PIL reports the error
            if pixels is not None:
                yield Pixels(pixels)
                return
    with _errors_in_words(data):
        image = Image.open(io.BytesIO(data), formats=known_formats(data))
    with image, DECODED.reserve(_memory(image)):
        with _errors_in_words(data):
            wide_pixels.check_planes(image)
            how = wide_pixels.is_unsigned(image), wide_pixels.keep_premultiplied(image)
            low = wide_pixels.load_low_bytes(data, image)
            image.load()
            turned = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
            if turned is not None:
                low = low and low.transpose(turned)
                pixels = Pixels(image.transpose(turned), low, *how)
            else:
                pixels = Pixels(image, low, *how)
        yield pixels


def _simplejpeg() -> Any:
    """The package, which only JPEGs need."""
    import simplejpeg

    return simplejpeg


def read_header(data: bytes) -> tuple[tuple[int, int], bool]:
    """(width, height) of an encoded image as it is stored, and whether it is grey; simplejpeg is 14x PIL here."""
    if data[:2] == b"\xff\xd8":
        try:
            height, width, colours, _ = _simplejpeg().decode_jpeg_header(data)
            return (width, height), colours == "Gray"
        except ValueError:
            pass  # PIL reports the error
    with _errors_in_words(data), Image.open(io.BytesIO(data), formats=known_formats(data)) as image:
        _check_pixels(image)
        return image.size, image.mode in GREY


def has_wide_pixels(data: bytes) -> bool:
    """Whether an image has more than 8 bits per value, by its header; raises ValueError where that cannot be read."""
    if data[:2] == b"\xff\xd8":  # a JPEG never has
        return False
    with _errors_in_words(data), Image.open(io.BytesIO(data), formats=known_formats(data)) as image:
        return wide_pixels.is_wide(image)


def describe_error(error: Exception) -> str:
    """A library's message about a file, in one line and without a memory address."""
    return str(error).partition("\n")[0] or type(error).__name__


@contextmanager
def _errors_in_words(data: bytes) -> Iterator[None]:
    try:
        yield
    except UnidentifiedImageError:
        raise ValueError(describe_unknown(data)) from None
    except Exception as error:  # PIL's plugins raise OSError, SyntaxError, struct.error, DecompressionBombError, ...
        raise ValueError(describe_error(error)) from None


def _memory(image: Image.Image) -> int:
    """The bytes that an opened image takes once it is loaded: four a pixel in PIL, as many for each copy of it."""
    _check_pixels(image)
    copies = 1 + wide_pixels.is_wide(image) + (image.format in WHOLE_FRAMES) + ("exif" in image.info)
    return image.width * image.height * 4 * copies


def _plain_jpeg_header(data: bytes, channels: int) -> tuple[int, int, str] | None:
    """(height, width, colour space to decode to) of a JPEG that needs no conversion; None: PIL decodes it."""
    if data[:2] != b"\xff\xd8" or _may_be_rotated(data):
        return None
    try:
        height, width, colours, _ = _simplejpeg().decode_jpeg_header(data)
    except ValueError:
        return None
    if height * width > MAX_PIXELS or colours not in ("YCbCr", "Gray") or (colours == "YCbCr") > (channels == 3):
        return None
    return height, width, "RGB" if channels == 3 else "GRAY"


def _may_be_rotated(data: bytes) -> bool:
    """Whether a segment before a JPEG's pixels may state its orientation, as EXIF or XMP."""
    place = 2
    while data[place : place + 1] == b"\xff":
        marker, length = data[place + 1 : place + 2], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == b"\xda":  # from here on pixels
            return False
        segment = data[place + 4 : place + 2 + length] if marker == b"\xe1" else b""
        if segment.startswith(b"Exif\0") or b"tiff:Orientation" in segment:
            return True
        place += 1 if marker == b"\xff" else 2 + length  # more than one 0xff is padding
    return True  # not understood


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    """In `mode`, transparent pixels on white."""
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert(mode)
    return image.convert(mode)


def _check_pixels(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"unpacks to {image.width}x{image.height} pixels, more than {MAX_PIXELS // 1_000_000} million")
