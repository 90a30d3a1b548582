"""Predictions of a trained model for encoded images."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwcls.data.decoding.decode import READ_ERRORS, chunk_size, count_cpus, decode_to_size
from hwcls.data.decoding.memory import ENCODED
from hwcls.data.decoding.opened import describe_error, has_wide_pixels
from hwcls.data.decoding.pixel_range import SIXTEEN_BITS
from hwcls.data.formats.image_types import nfc
from hwcls.data.imageset import InputSpec
from hwcls.inspection.image_sources import ImageSource
from hwcls.inspection.load_trained import Classifier

BATCH = 64  # images
FIRST = 8  # of the first batch, so that the first results come soon; each next one is twice as large
DOWNLOADS = 16  # at the same time
NOT_A_NUMBER = "the model's probabilities are not numbers"


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image, best first; or why it has none.

    Attributes:
        top: Class and probability in [0, 1].
        margin: Between the two highest probabilities, in [0, 1].
        entropy: Of all probabilities, in nats, from 0 to log(classes).
        full_range: It has more than 8 bits, no training image had, and so all of 16 bits became 0 to 255.
        explanation: The picture that explains it, where one was drawn.
    """

    file: str
    top: tuple[tuple[str, float], ...] = ()
    margin: float = 0.0
    entropy: float = 0.0
    error: str | None = None
    full_range: bool = False
    explanation: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        if self.error is not None:
            return {"file": self.file, "error": self.error}
        found = {
            "file": self.file,
            "top": [{"class": name, "probability": probability} for name, probability in self.top],
            "margin": self.margin,
            "entropy": self.entropy,
        }
        return found | ({"explanation": self.explanation} if self.explanation is not None else {})


@dataclass(frozen=True)
class PredictedBatch:
    """The predictions of some images in order; pixels (B, S, S, C) uint8 and scores (B, K) of the B without an error.

    The pixels are those of the classifier's first decoding, the scores are probabilities.
    """

    predictions: list[Prediction]
    pixels: np.ndarray[Any, Any]
    scores: np.ndarray[Any, Any]

    @property
    def classes(self) -> np.ndarray[Any, Any]:
        """(B,), the most probable ones."""
        found: np.ndarray[Any, Any] = self.scores.argmax(1)
        return found


@dataclass(frozen=True)
class _Decoded:
    pixels: tuple[np.ndarray[Any, Any], ...] | None = None  # (S, S, C) uint8, in each way of the classifier
    error: str | None = None
    full_range: bool = False


def decode_as_trained(data: bytes, inputs: InputSpec) -> np.ndarray[Any, Any]:
    """An encoded image as in training, before normalisation: (size, size, channels) uint8; raises READ_ERRORS.

    Where no training image had more than 8 bits, 16 bits are read in full.
    """
    levels = inputs.pixel_range or SIXTEEN_BITS
    return decode_to_size(data, inputs.image_size, inputs.channels, levels, inputs.resizing)


def predict(trained: Classifier, images: Sequence[ImageSource], k: int = 3) -> Iterator[Prediction]:
    """The `k` most probable classes of each image, in order; one that cannot be read does not stop the others."""
    for batch in predict_batches(trained, images, k, BATCH):
        yield from batch.predictions


def predict_batches(trained: Classifier, images: Sequence[ImageSource], k: int, most: int) -> Iterator[PredictedBatch]:
    """As `predict`, in batches of at most `most` images, while threads read and decode the next ones."""
    classes, first = trained.classes, trained.decodings[0]
    start = 0
    for decoded in _decode_ahead(images, trained.decodings, most):
        sources = images[start : start + len(decoded)]
        start += len(decoded)
        read = [one.pixels for one in decoded if one.pixels is not None]
        pixels = np.empty((0, first.image_size, first.image_size, first.channels), np.uint8)
        scores = np.empty((0, len(classes)), np.float32)  # (B, K)
        if read:
            every = [np.stack(ones) for ones in zip(*read, strict=True)]
            pixels, scores = every[0], trained.probabilities(*every)
        sound, rows = np.isfinite(scores).all(1), iter(scores)
        predictions = [
            _describe(source, one, classes, next(rows), k)
            if one.error is None
            else Prediction(source.name, error=one.error)
            for source, one in zip(sources, decoded, strict=True)
        ]
        yield PredictedBatch(predictions, pixels[sound], scores[sound])


def by_uncertainty(predictions: Iterable[Prediction]) -> list[Prediction]:
    """The least certain first, by the margin between the two most probable classes; unreadable images last."""
    return sorted(predictions, key=lambda one: (one.error is not None, one.margin))


def folder_class(file: str, classes: Container[str]) -> str | None:
    """The class that an image's folder names, such as cat for `photos/cat/1.jpg`; None where it names none.

    A class of folders several deep, such as `Greek/character01`, is known too.
    """
    folders = nfc(file).split("/")[:-1]
    paths = ("/".join(folders[first:]) for first in reversed(range(len(folders))))
    return next((path for path in paths if path in classes), None)


def _describe(
    source: ImageSource, decoded: _Decoded, classes: tuple[str, ...], row: np.ndarray[Any, Any], k: int
) -> Prediction:
    if not np.isfinite(row).all():
        return Prediction(source.name, error=NOT_A_NUMBER)
    order = np.argsort(-row, kind="stable")
    top = tuple((classes[place], float(row[place])) for place in order[:k])
    margin = float(row[order[0]] - row[order[1]]) if len(order) > 1 else 1.0
    entropy = -float((row * np.log(np.maximum(row, np.finfo(row.dtype).tiny))).sum())
    return Prediction(source.name, top, margin, max(entropy, 0.0), full_range=decoded.full_range)


def _decode_ahead(images: Sequence[ImageSource], decodings: Sequence[InputSpec], most: int) -> Iterator[list[_Decoded]]:
    """The decoded images in batches, in order; as many as two batches are read and decoded ahead."""
    most = min(most, *(chunk_size(inputs.image_size, inputs.channels) for inputs in decodings))
    workers = max(count_cpus(), DOWNLOADS if any(one.is_remote for one in images) else 1)
    pool = ThreadPoolExecutor(min(workers, len(images) or 1))
    waiting: deque[Future[_Decoded]] = deque()
    remaining = iter(images)

    def submit(count: int) -> None:
        for _, source in zip(range(count), remaining, strict=False):
            waiting.append(pool.submit(_decode, source, decodings))

    try:
        size = min(FIRST, most)
        submit(2 * most)
        while waiting:
            batch: list[_Decoded] = []
            while waiting and len(batch) < size:
                batch.append(waiting.popleft().result())
                submit(1)
            yield batch
            size = min(2 * size, most)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _decode(source: ImageSource, decodings: Sequence[InputSpec]) -> _Decoded:
    try:
        with ENCODED.reserve(source.size()):
            content = source.read()
            pixels = tuple(decode_as_trained(content, inputs) for inputs in decodings)
            scaled = all(inputs.pixel_range is not None for inputs in decodings)
            return _Decoded(pixels, full_range=not scaled and has_wide_pixels(content))
    except READ_ERRORS as error:
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else describe_error(error)
        return _Decoded(error=reason)
