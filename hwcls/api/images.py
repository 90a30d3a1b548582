"""Images as Python has them, for predictions: paths, PIL's images and arrays."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from hwcls.data.decoding.opened import has_wide_pixels
from hwcls.data.decoding.pixel_range import SIXTEEN_BITS, PixelRange
from hwcls.data.decoding.wide_pixels import is_wide
from hwcls.data.formats.archive import read_limited
from hwcls.errors import UserError
from hwcls.inspection.image_sources import ImageSource, find_images

ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray[Any, Any]
PNG, TIFF = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), ("I", "F", "CMYK")  # modes that these formats keep exactly
ACCEPTED = "give paths, PIL images, or arrays (H, W) or (H, W, 3) of uint8 from 0 to 255"
NO_RANGE = "has an unknown black and white"
AS_8_BITS = "where 0 to 255 are meant, give np.asarray(image).astype(np.uint8); else its file"
CHANNELS = (1, 3, 4)  # of an array; with another last axis three axes are a batch of grey images (N, H, W)
_loading = threading.Lock()  # PIL reads a file's pixels when they are needed, and not from two threads at once


def list_sources(images: ImageLike | Iterable[ImageLike], levels: PixelRange | None = None) -> list[ImageSource]:
    """Every image that is meant, in order.

    A path is a file, a folder, an archive, a pattern or a URL, as of `hwcls predict`. An array is one image (H, W),
    (H, W, 1), (H, W, 3) or (H, W, 4), or a batch (N, H, W) or (N, H, W, C).

    Args:
        images: One or more.
        levels: What becomes 0 and 255 in images of more than 8 bits; None: arrays of them are refused, as nothing says
            it, and so are PIL's that no file was opened for and that have only values to 255.

    Raises:
        UserError: A path names no image, or a value is none.
    """
    if isinstance(images, np.ndarray) and (images.ndim == 4 or (images.ndim == 3 and images.shape[2] not in CHANNELS)):
        images = list(images)
    elif isinstance(images, (str, os.PathLike, Image.Image, np.ndarray)):
        images = [images]
    elif not isinstance(images, Iterable):
        raise UserError(f"a value of type {type(images).__name__} is no image", remedy=ACCEPTED)
    found: list[ImageSource] = []
    for place, one in enumerate(images):
        found += _sources(one, f"images[{place}]", levels)
    return found


def _sources(one: object, name: str, levels: PixelRange | None) -> list[ImageSource]:
    if isinstance(one, (str, os.PathLike)):
        return find_images([os.fspath(one)]).images
    if isinstance(one, Image.Image):
        _check_bits(one, name, levels)
        return [_encoded(one, name)]
    if not isinstance(one, np.ndarray):
        raise UserError(f"a value of type {type(one).__name__} is no image", where=name, remedy=ACCEPTED)
    return [_encoded(_as_image(one, name, levels), name)]


def _as_image(array: np.ndarray[Any, Any], name: str, levels: PixelRange | None) -> Image.Image:
    """An array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) as PIL's image; raises UserError for another one."""
    plain = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    colours = plain.ndim == 3 and plain.shape[2] in (3, 4)
    wide = levels is not None and plain.dtype in (np.uint16, np.int32, np.float32)
    if not plain.size or not (plain.dtype in (np.uint8, np.bool_) if colours else plain.ndim == 2):
        what = f"an array {array.shape} of {array.dtype} is no image"
        raise UserError(what, where=name, remedy=ACCEPTED)
    if plain.dtype not in (np.uint8, np.bool_) and not wide:
        raise UserError(f"an array of {array.dtype} {NO_RANGE}", where=name, remedy=ACCEPTED)
    return Image.fromarray(np.ascontiguousarray(plain.astype(np.uint8) * 255 if plain.dtype == np.bool_ else plain))


def _check_bits(image: Image.Image, name: str, levels: PixelRange | None) -> None:
    """Raise UserError for PIL's image that may be nearly black to the model: what its values mean is not known."""
    if image.mode.startswith("I"):
        if levels is None and image.format is None and 0 < np.asarray(image).max(initial=0) <= 255:
            raise UserError(f"an image of mode {image.mode} {NO_RANGE}", where=name, remedy=AS_8_BITS)
    elif image.mode != "F" and levels not in (None, SIXTEEN_BITS) and _lost_bits(image):
        raise UserError("PIL has only the upper 8 of its file's 16 bits", where=name, remedy="give the file's path")


def _lost_bits(image: Image.Image) -> bool:
    """Whether PIL opened an image from a file with 16 bits per colour, as far as can be known."""
    if getattr(image, "tile", None):  # not read yet
        return is_wide(image)
    try:
        path = Path(os.fsdecode(getattr(image, "filename", "")))
        return image.format is not None and has_wide_pixels(read_limited(path))
    except (OSError, ValueError):
        return False


def _encoded(image: Image.Image, name: str) -> ImageSource:
    """An image in memory as a file that keeps all its pixels: then it is decoded as the training images were."""
    return ImageSource(name, partial(_encode, image), lambda: image.width * image.height * len(image.getbands()))


def _encode(image: Image.Image) -> bytes:
    with _loading:
        image.load()
    upright, content = ImageOps.exif_transpose(image), io.BytesIO()
    if upright.mode.startswith("I;16"):  # in any order of bytes, of which PIL converts only this one
        upright = Image.fromarray(np.asarray(upright).astype(np.uint16))
    if upright.mode not in (*PNG, *TIFF):
        upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    upright.save(content, "TIFF" if upright.mode in TIFF else "PNG", compress_level=0)
    return content.getvalue()
