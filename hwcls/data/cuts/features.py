"""What an image looks like, whatever its size, quality, brightness and contrast: 256 numbers of unit length.

The centre of the image, a square, becomes 16 x 16 grey values. Each is taken relative to its surroundings, mean and
spread, so that neither a bright sky nor a white frame decides how alike two images are (local contrast normalisation).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from PIL import Image

from hwcls.data.decoding.codecs import MAX_PIXELS
from hwcls.data.decoding.decode import (
    CHUNK,
    READ_ERRORS,
    check_image,
    decode_to_size,
    read_error,
    run_tasks,
)
from hwcls.data.decoding.memory import ENCODED
from hwcls.data.decoding.opened import ORIENTATION, UPRIGHT, has_wide_pixels
from hwcls.data.decoding.pixel_range import RangeMeter
from hwcls.data.formats.raw import EncodedImages
from hwcls.data.progress import ProgressMeter

SIDE = 16  # pixels of a reduced image
BLUR = 1.5  # pixels, sigma of the surroundings
LEAST_SPREAD = 4.0  # grey levels: what varies less is noise
WEIGHT, FINE = 256, 16  # the sum of the weights of the surroundings; parts of a grey level
STEPS = 2048  # of a number of the description: float32 holds sums of products of two exactly
ROWS = 4096  # images at once


def reduce_images(images: EncodedImages, meter: ProgressMeter) -> tuple[np.ndarray, np.ndarray]:
    """Read every image once.

    Returns:
        (N, SIDE, SIDE) uint8, the reduced images, and (N,) uint64, BLAKE2b of the files.

    Raises:
        UserError: An image that cannot be read, with its path.
    """
    reduced = np.empty((len(images), SIDE, SIDE), np.uint8)
    digests = np.empty(len(images), np.uint64)

    def read(start: int) -> None:
        for row, name in enumerate(images.names[start : start + CHUNK], start):
            try:
                with ENCODED.reserve(images.tree.size(name)):
                    data = images.tree.read(name)
                    digests[row] = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
                    reduced[row] = reduce_image(data)
            except READ_ERRORS as error:
                raise read_error(images, name, error) from None

    tasks: Iterator[Callable[[], None]] = (partial(read, start) for start in range(0, len(images), CHUNK))
    for done, _ in enumerate(run_tasks(tasks), 1):
        meter.update(min(done * CHUNK, len(images)))
    return reduced, digests


def reduce_image(data: bytes) -> np.ndarray:
    """(SIDE, SIDE) uint8 of an encoded image, upright; a JPEG is decoded at a fraction of its size.

    Raises:
        READ_ERRORS: It cannot be read.
    """
    if data[:2] == b"\xff\xd8":
        try:
            return _reduce_jpeg(data)
        except READ_ERRORS:
            pass  # what PIL cannot read, the decoder of the store may
    levels = None
    if has_wide_pixels(data):  # by its own range, whatever that of the others is
        meter = RangeMeter()
        check_image(data, meter)
        levels = meter.range()
    return _mean_of_fours(decode_to_size(data, 2 * SIDE, 1, levels)[..., 0])


def _reduce_jpeg(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError("too large")
        image.draft("L", (4 * SIDE, 4 * SIDE))
        left, top = (max(side - min(image.size), 0) / 2 for side in image.size)
        box = (left, top, image.width - left, image.height - top)
        small = image.convert("L").resize((2 * SIDE, 2 * SIDE), Image.Resampling.BILINEAR, box)
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
        return _mean_of_fours(np.asarray(small if turn is None else small.transpose(turn)))


def _mean_of_fours(pixels: np.ndarray) -> np.ndarray:
    sums: np.ndarray = pixels.reshape(SIDE, 2, SIDE, 2).astype(np.uint16).sum((1, 3))
    return ((sums + 2) // 4).astype(np.uint8)


def describe_images(reduced: np.ndarray) -> np.ndarray:
    """(N, SIDE * SIDE) float32 of (N, SIDE, SIDE) uint8: of about unit length, zero for an image of one colour.

    The scalar product of two of them is how alike they are, from -1 to 1. All numbers are multiples of 1 / STEPS, and
    what they are made of are integers: sums of their products are exact, so the CPU and the order do not matter.
    """
    weights = _weights()
    found = np.empty((len(reduced), SIDE * SIDE), np.float32)
    for start in range(0, len(reduced), ROWS):
        pixels = reduced[start : start + ROWS].astype(np.float64)
        pixels = np.rint((WEIGHT**2 * pixels - weights @ pixels @ weights.T) / (WEIGHT**2 / FINE))
        spread = np.sqrt(weights @ pixels**2 @ weights.T / WEIGHT**2)
        flat = np.rint(WEIGHT * pixels / (spread + FINE * LEAST_SPREAD)).reshape(len(pixels), -1)
        flat -= np.rint(flat.sum(1, keepdims=True) / flat.shape[1])
        length = np.sqrt((flat**2).sum(1, keepdims=True))
        found[start : start + ROWS] = np.rint(STEPS * flat / np.maximum(length, 1)) / STEPS
    return found


def _weights() -> np.ndarray:
    """(SIDE, SIDE) float64, integers: the weight of each pixel of a line in the surroundings of each; WEIGHT in all."""
    place = np.arange(SIDE)
    weights: np.ndarray = np.exp(-((place[:, None] - place) ** 2) / (2 * BLUR**2))
    weights = np.rint(WEIGHT * weights / weights.sum(1, keepdims=True))
    weights[place, place] += WEIGHT - weights.sum(1)
    return weights
