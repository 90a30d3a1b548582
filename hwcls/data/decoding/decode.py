"""Image files to uint8 pixels of one size: grey, palette, transparent, 16-bit and rotated ones alike."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch

from hwcls.data.decoding.codecs import SKIP, remedy_for
from hwcls.data.decoding.image_sizes import ImageSizes
from hwcls.data.decoding.memory import ENCODED
from hwcls.data.decoding.opened import describe_error, has_wide_pixels, open_pixels, read_header
from hwcls.data.decoding.pixel_range import PixelRange, RangeMeter, UnknownRangeError
from hwcls.data.decoding.resize import resize_batch, resize_pixels
from hwcls.data.decoding.resizing import USUAL, Resizing
from hwcls.data.formats.raw import EncodedImages, UnusableImagesError
from hwcls.errors import UserError, unreadable

CHUNK = 256  # images per task, at most
CHUNK_BYTES = 16 << 20  # of their pixels
SAMPLE = 1000  # images whose headers suffice to choose a size
READ_ERRORS = (ValueError, OSError, RuntimeError, MemoryError)  # what reading, decoding and resizing a file may raise


def decode_image(data: bytes, channels: int, levels: PixelRange | None = None) -> np.ndarray:
    """One encoded image as (H, W, channels) uint8, upright by its EXIF tag.

    Pixels of more than 8 bits are scaled by `levels`, transparent ones get a white background, colour becomes ITU-R 601
    luma when one channel is asked for.

    Raises:
        ValueError: The bytes are not a complete image of a known format, claim more than 89 million pixels, or have
            more than 8 bits and no `levels` (UnknownRangeError), or those of the other kind.
    """
    with open_pixels(data, channels) as pixels:
        return pixels.read((0, 0, *pixels.shape), channels, levels)


def decode_to_size(
    data: bytes, size: int, channels: int, levels: PixelRange | None, resizing: Resizing = USUAL
) -> np.ndarray:
    """One encoded image as (size, size, channels) uint8, in little more memory than its pixels; raises READ_ERRORS."""
    with open_pixels(data, channels) as pixels:
        return resize_pixels(lambda box: pixels.read(box, channels, levels), *pixels.shape, size, resizing)


def check_image(data: bytes, meter: RangeMeter) -> None:
    """Decode an image as it is and count its values where they have more than 8 bits; raises READ_ERRORS."""
    with open_pixels(data, 3) as pixels:
        if pixels.is_wide:
            pixels.measure(meter)


def measure_images(images: EncodedImages) -> tuple[ImageSizes, int]:
    """(sizes, channels) of all images from the headers; 1 channel if all are grey.

    Raises:
        UserError: A header that cannot be read, with its path.
    """
    sizes = ImageSizes()
    grey = True
    for name in images.names:
        try:
            size, is_grey = read_header(images.tree.read(name))
        except Exception as error:
            raise read_error(images, name, error) from None
        sizes.add(size)
        grey = grey and is_grey
    return sizes, (1 if grey else 3)


def sample_sizes(images: np.ndarray | EncodedImages) -> ImageSizes:
    """The sizes of SAMPLE images at most, evenly spread, from the headers; those that cannot be read are left out."""
    sizes = ImageSizes()
    if isinstance(images, np.ndarray):
        sizes.add((images.shape[2], images.shape[1]))
        return sizes
    for place in np.linspace(0, len(images) - 1, min(len(images), SAMPLE)).astype(int).tolist():
        with contextlib.suppress(*READ_ERRORS):  # decoding names them
            sizes.add(read_header(images.tree.read(images.names[place]))[0])
    return sizes


def measure_range(images: EncodedImages) -> PixelRange | None:
    """The range of the pixels of more than 8 bits; None where no image has them.

    Raises:
        UserError: An image that cannot be read, with its path; or integers beside floats.
    """
    meter = RangeMeter()

    def measure(start: int) -> None:
        for name in images.names[start : start + CHUNK]:
            try:
                with ENCODED.reserve(images.tree.size(name)):
                    data = images.tree.read(name)
                    if has_wide_pixels(data):
                        check_image(data, meter)
            except READ_ERRORS as error:
                raise read_error(images, name, error) from None

    for _ in run_tasks(partial(measure, start) for start in range(0, len(images), CHUNK)):
        pass
    return finish_range(meter, images.tree.where)


def finish_range(meter: RangeMeter, where: str) -> PixelRange | None:
    """What `meter` has found; raises UnusableImagesError for integers beside floats."""
    try:
        return meter.range()
    except ValueError as error:
        raise UnusableImagesError(str(error), where=where, remedy="save all of them alike") from None


def decode_tasks(
    images: np.ndarray | EncodedImages,
    size: int,
    channels: int,
    levels: PixelRange | None = None,
    resizing: Resizing = USUAL,
    first: int = 0,
) -> Iterator[Callable[[], tuple[int, np.ndarray]]]:
    """Tasks that each return (row, pixels (n, size, size, channels) uint8), from row `first` on; run them in any order.

    A task raises UnknownRangeError for pixels of more than 8 bits where `levels` is None, and UserError for an image
    that cannot be read.
    """
    chunk = chunk_size(size, channels)
    for start in range(first, len(images), chunk):
        stop = min(start + chunk, len(images))
        if isinstance(images, np.ndarray):
            yield lambda start=start, stop=stop: (start, _resize_batch(images[start:stop], size, channels, resizing))  # type: ignore[misc]
        else:
            part = EncodedImages(images.tree, images.names[start:stop])
            yield lambda start=start, part=part: (start, _decode_files(part, size, channels, levels, resizing))  # type: ignore[misc]


def chunk_size(size: int, channels: int) -> int:
    """How many images of `size` a task decodes."""
    return max(1, min(CHUNK, CHUNK_BYTES // (size * size * channels)))


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


def read_error(images: EncodedImages, name: str, error: Exception) -> UserError:
    """One of READ_ERRORS with the path of its image: what the operating system refuses is not the image's fault."""
    if isinstance(error, OSError) and error.errno is not None:
        return unreadable(error, f"{images.tree.where}/{name}")
    return corrupt_image_error(images, name, describe_error(error))


def corrupt_image_error(images: EncodedImages, name: str, problem: object, skip: str = SKIP) -> UnusableImagesError:
    """The error about an image whose bytes are no readable one, with its path; `skip` says how to leave it out."""
    remedy = remedy_for(str(problem)) or f"replace or remove it, {skip}"
    return UnusableImagesError(f"not a readable image ({problem})", where=f"{images.tree.where}/{name}", remedy=remedy)


def _decode_files(
    images: EncodedImages, size: int, channels: int, levels: PixelRange | None, resizing: Resizing
) -> np.ndarray:
    out = np.empty((len(images), size, size, channels), np.uint8)
    for place, name in enumerate(images.names):
        try:
            with ENCODED.reserve(images.tree.size(name)):
                out[place] = decode_to_size(images.tree.read(name), size, channels, levels, resizing)
        except UnknownRangeError:
            raise
        except READ_ERRORS as error:
            raise read_error(images, name, error) from None
    return out


def _resize_batch(pixels: np.ndarray, size: int, channels: int, resizing: Resizing) -> np.ndarray:
    """Decoded pixels (n, H, W, C) at another size and number of channels."""
    if channels != pixels.shape[3]:
        pixels = _luma(pixels) if channels == 1 else np.repeat(pixels, channels, axis=3)
    if pixels.shape[1:3] == (size, size) and resizing.scaled_side(size) == size:
        return pixels
    batch = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2)
    return resize_batch(batch, size, resizing).permute(0, 2, 3, 1).numpy()


def _luma(pixels: np.ndarray) -> np.ndarray:
    """(n, H, W, 3) to (n, H, W, 1) as PIL does it: fixed point, ITU-R 601."""
    weights = np.array([19595, 38470, 7471], np.uint32)
    return ((pixels @ weights + 0x8000) >> 16).astype(np.uint8)[..., None]
