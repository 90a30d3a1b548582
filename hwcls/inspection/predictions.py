"""Predictions of a trained model for image files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwcls.data.decoding.decode import READ_ERRORS, decode_to_size
from hwcls.data.decoding.opened import describe_error, has_wide_pixels
from hwcls.data.decoding.pixel_range import SIXTEEN_BITS
from hwcls.data.formats.archive import read_limited, walk_files
from hwcls.data.formats.image_types import LeftOut, is_image, summarise, why_not_an_image
from hwcls.data.imageset import InputSpec
from hwcls.errors import UserError
from hwcls.inspection.load_trained import Trained

BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one file, best first; or why it could not be read.

    Attributes:
        top: Class and probability in [0, 1].
        full_range: It has more than 8 bits, no training image had, and so all of 16 bits became 0 to 255.
    """

    file: Path
    top: list[tuple[str, float]]
    error: str | None = None
    full_range: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        if self.error is not None:
            return {"file": str(self.file), "error": self.error}
        return {"file": str(self.file), "top": [{"class": name, "probability": p} for name, p in self.top]}


def find_image_files(paths: Iterable[Path]) -> tuple[list[Path], dict[str, LeftOut]]:
    """The files themselves and every image below the folders, by name; and the other files below the folders, and why.

    Raises:
        UserError: A path does not exist or is a pipe, or a folder holds no image.
    """
    found: list[Path] = []
    left_out: dict[str, LeftOut] = {}
    for path in paths:
        if path.is_dir():
            no_files: dict[str, LeftOut] = {}
            names = [name for name, _ in walk_files(path, no_files)]
            others = {str(path / name): why_not_an_image(name) for name in names if not is_image(name)}
            others |= {str(path / name): why for name, why in no_files.items()}
            if len(others) == len(names) + len(no_files):
                what = "no image in this folder" + (f", but {summarise(others)[0]}" if others else "")
                raise UserError(what, where=str(path), remedy="" if others else "name image files or their folder")
            found += sorted(path / name for name in names if is_image(name))
            left_out |= others
        elif path.is_file():
            found.append(path)
        elif path.exists():
            raise UserError("is a pipe, a device or a socket", where=str(path), remedy="name a regular file")
        else:
            what = "is a link to nothing" if path.is_symlink() else "no such file or folder"
            raise UserError(what, where=str(path))
    return found, left_out


def decode_as_trained(data: bytes, inputs: InputSpec) -> np.ndarray[Any, Any]:
    """An encoded image as in training, before normalisation: (size, size, channels) uint8; raises READ_ERRORS.

    Where no training image had more than 8 bits, 16 bits are read in full.
    """
    return decode_to_size(data, inputs.image_size, inputs.channels, inputs.pixel_range or SIXTEEN_BITS)


def predict(trained: Trained, paths: Sequence[Path], k: int = 3) -> Iterator[Prediction]:
    """The `k` most probable classes of each file, in order; a file that cannot be read does not stop the others."""
    data = trained.inputs
    for start in range(0, len(paths), BATCH):
        images, errors, full_range = {}, {}, set()
        for path in paths[start : start + BATCH]:
            try:
                content = read_limited(path)
                images[path] = decode_as_trained(content, data)
                if data.pixel_range is None and has_wide_pixels(content):
                    full_range.add(path)
            except READ_ERRORS as error:
                errors[path] = describe_error(error)
        scores = trained.probabilities(np.stack(list(images.values()))) if images else ()  # (B, K)
        tops = {path: _top(row, data.classes, k) for path, row in zip(images, scores, strict=True)}
        for path in paths[start : start + BATCH]:
            yield Prediction(path, tops.get(path, []), errors.get(path), path in full_range)


def _top(row: np.ndarray[Any, Any], classes: tuple[str, ...], k: int) -> list[tuple[str, float]]:
    order = np.argsort(-row, kind="stable")[:k]
    return [(classes[place], float(row[place])) for place in order]
