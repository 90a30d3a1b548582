"""Image files to uint8 pixels of one size: grey, palette, transparent, 16-bit and rotated ones alike."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import simplejpeg
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from hwcls.data.formats.raw import EncodedImages
from hwcls.errors import UserError

CHUNK = 256  # images per task
MAX_PIXELS = 89_478_485  # more counts as a bomb; PIL would start to warn here
Image.MAX_IMAGE_PIXELS = None  # every image is checked against MAX_PIXELS, and refused instead of warned about
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "PPM", "GIF", "TIFF")  # others run programs or nest images
GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")
MAX_ASPECT = 8  # images with longer sides are cropped before they are scaled
READ_ERRORS = (ValueError, OSError, RuntimeError, MemoryError)  # what reading, decoding and resizing a file may raise


def decode_image(data: bytes, channels: int) -> np.ndarray:
    """One encoded image as (H, W, channels) uint8, upright by its EXIF tag.

    16-bit grey is scaled to 8 bits, transparent pixels get a white background, colour becomes ITU-R 601 luma when one
    channel is asked for.

    Raises:
        ValueError: The bytes are not a complete image of one of `FORMATS`, have floating-point pixels, or claim more
            than 89 million pixels.
    """
    pixels = _decode_plain_jpeg(data, channels)
    if pixels is not None:
        return pixels
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_pixels(image)
            image.load()
            upright = ImageOps.exif_transpose(image) if image.getexif().get(0x0112, 1) != 1 else image
            pixels = np.asarray(_to_eight_bits(upright, "L" if channels == 1 else "RGB"))
    except Exception as error:  # PIL's plugins raise OSError, SyntaxError, struct.error, DecompressionBombError, ...
        raise ValueError(describe_error(error)) from None
    return pixels[..., None] if pixels.ndim == 2 else pixels


def measure_images(images: EncodedImages) -> tuple[int | None, int]:
    """(side, channels) from the headers: the side that all images share, if any; 1 channel if all are grey.

    Raises:
        UserError: A header that cannot be read, with its path.
    """
    sizes: set[tuple[int, int]] = set()
    grey = True
    for name in images.names:
        try:
            size, is_grey = _read_header(images.tree.read(name))
        except Exception as error:
            raise corrupt_image_error(images, name, describe_error(error)) from None
        sizes.add(size)
        grey = grey and is_grey
    width, height = next(iter(sizes))
    return (width if len(sizes) == 1 and width == height else None), (1 if grey else 3)


def resize_and_crop(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """The short side to `size` (bilinear, antialiased), then the centre: (B, C, H, W) uint8 to (B, C, size, size)."""
    height, width = pixels.shape[-2:]
    if (height, width) == (size, size):
        return pixels
    short = min(height, width)
    if max(height, width) > MAX_ASPECT * short:  # scaled first, a line of a million pixels would take all memory
        height, width = (min(side, 2 * short + side % 2) for side in (height, width))  # about the same centre
        top, left = (pixels.shape[-2] - height) // 2, (pixels.shape[-1] - width) // 2
        pixels = pixels[..., top : top + height, left : left + width]
    target = (max(size, round(height * size / short)), max(size, round(width * size / short)))
    scaled = torch.nn.functional.interpolate(pixels, target, mode="bilinear", antialias=True)
    top, left = (target[0] - size) // 2, (target[1] - size) // 2
    return scaled[..., top : top + size, left : left + size]


def decode_tasks(
    images: np.ndarray | EncodedImages, size: int, channels: int
) -> Iterator[Callable[[], tuple[int, np.ndarray]]]:
    """Tasks that each return (first row, pixels (n, size, size, channels) uint8); run them in any order."""
    for start in range(0, len(images), CHUNK):
        stop = min(start + CHUNK, len(images))
        if isinstance(images, np.ndarray):
            yield lambda start=start, stop=stop: (start, _resize_batch(images[start:stop], size, channels))  # type: ignore[misc]
        else:
            yield lambda start=start, stop=stop: (start, _decode_files(images, start, stop, size, channels))  # type: ignore[misc]


def run_tasks(tasks: Iterator[Callable[[], None]]) -> Iterator[None]:
    """Run tasks on every CPU this process may use; yields after each, in order; the first error ends it."""
    with ThreadPoolExecutor(count_cpus()) as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            for future in futures:
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def count_cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_error(error: Exception) -> str:
    """A library's message about a file, in one line and without a memory address."""
    if isinstance(error, UnidentifiedImageError):
        return "of no known image format"
    return str(error).partition("\n")[0] or type(error).__name__


def corrupt_image_error(images: EncodedImages, name: str, problem: object) -> UserError:
    """The error about an image that cannot be read, with its path."""
    remedy = "replace or remove it, or leave out such images: hwcls data import NAME PATH --skip-corrupt"
    return UserError(f"not a readable image ({problem})", where=f"{images.tree.where}/{name}", remedy=remedy)


def _read_header(data: bytes) -> tuple[tuple[int, int], bool]:
    """(width, height) of an encoded image, and whether it is grey; simplejpeg is 14x PIL here."""
    if data[:2] == b"\xff\xd8":
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
            return (width, height), colours == "Gray"
        except ValueError:
            pass  # PIL reports the error
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _check_pixels(image)
        return image.size, image.mode in GREY


def _decode_plain_jpeg(data: bytes, channels: int) -> np.ndarray | None:
    """(H, W, channels) of a JPEG that needs no conversion; None: PIL decodes it, or reports its error."""
    if data[:2] != b"\xff\xd8" or _may_be_rotated(data):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if height * width > MAX_PIXELS or colours not in ("YCbCr", "Gray") or (colours == "YCbCr") > (channels == 3):
            return None
        pixels: np.ndarray = simplejpeg.decode_jpeg(data, colorspace="RGB" if channels == 3 else "GRAY")
    except ValueError:
        return None
    return pixels


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


def _decode_files(images: EncodedImages, start: int, stop: int, size: int, channels: int) -> np.ndarray:
    out = np.empty((stop - start, size, size, channels), np.uint8)
    for place, name in enumerate(images.names[start:stop]):
        try:
            pixels = decode_image(images.tree.read(name), channels)
            out[place] = pixels if pixels.shape[:2] == (size, size) else _resize_batch(pixels[None], size, channels)[0]
        except READ_ERRORS as error:
            raise corrupt_image_error(images, name, describe_error(error)) from None
    return out


def _resize_batch(pixels: np.ndarray, size: int, channels: int) -> np.ndarray:
    """Decoded pixels (n, H, W, C) at another size and number of channels."""
    if channels != pixels.shape[3]:
        pixels = _luma(pixels) if channels == 1 else np.repeat(pixels, channels, axis=3)
    if pixels.shape[1:3] == (size, size):
        return pixels
    batch = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2)
    return resize_and_crop(batch, size).permute(0, 2, 3, 1).numpy()


def _luma(pixels: np.ndarray) -> np.ndarray:
    """(n, H, W, 3) to (n, H, W, 1) as PIL does it: fixed point, ITU-R 601."""
    weights = np.array([19595, 38470, 7471], np.uint32)
    return ((pixels @ weights + 0x8000) >> 16).astype(np.uint8)[..., None]


def _to_eight_bits(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("F"):
        raise ValueError("floating-point pixels, whose white level is unknown: save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        return Image.fromarray(((wide.clip(0, 65535) * 255 + 32767) // 65535).astype(np.uint8)).convert(mode)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert(mode)
    return image.convert(mode)


def _check_pixels(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"unpacks to {image.width}x{image.height} pixels")
