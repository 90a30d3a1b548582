"""A picture of a data set: a few images per class, as they are and as training sees them, and how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from hwcls import files
from hwcls.config.data import DataConfig
from hwcls.data.augment.apply import to_pixels
from hwcls.data.augment.defaults import describe_augment
from hwcls.data.imageset import ImageSet, Split
from hwcls.data.loader import Feed
from hwcls.data.pictures.overview import HEIGHT, NARROWEST, draw_overview
from hwcls.fonts import draw_text, shorten_text

MARGIN, GAP, LABEL, TEXT = 2, 32, 18, 12  # pixels
TILE = 64  # small images are enlarged by an integer factor to about this side


@dataclass(frozen=True)
class Shown:
    """What a picture shows.

    Attributes:
        split: train, val or test; only train is ever augmented.
        augmented: Whether to draw the right half.
        columns: Images per class and half.
        rows: At most so many classes, the first ones.
    """

    split: str = "train"
    augmented: bool = True
    columns: int = 8
    rows: int = 10


def write_image_grid(
    data: ImageSet, config: DataConfig, path: Path, shown: Shown = Shown(), sides: Sequence[int] = ()
) -> None:
    """Write a PNG: one line per class with its name, images as they are on the left, augmented on the right.

    Above them are the numbers of images of all classes and the sizes of the files.

    Args:
        config: What `data` was opened with; its augmentation is shown (one draw of it).
        sides: The short sides of the files in pixels, ascending; empty where there are none.
    """
    part: Split = getattr(data, shown.split)
    classes = range(min(shown.rows, len(data.classes)))
    lines = [np.flatnonzero(part.labels == label)[: shown.columns] for label in classes]
    plain = {int(index): np.asarray(part.images[part.rows[index]]) for line in lines for index in line}
    halves = [(f"{shown.split}, as they are", plain)]
    augment = config.augment if config.augment is not None else data.augment
    if shown.augmented and shown.split == "train":
        halves.append(
            (
                f"as training sees them; augment: {describe_augment(augment)}",
                _augment_images(data, config, sorted(plain)),
            )
        )

    side = min(data.image_size * max(1, round(TILE / data.image_size)), 3 * TILE)
    resampling = Image.Resampling.NEAREST if side >= data.image_size else Image.Resampling.BILINEAR
    columns = max(map(len, lines))
    half = (side + MARGIN) * columns
    width = max((half + GAP) * len(halves) - GAP, NARROWEST)
    sheet = Image.new("RGB", (width, HEIGHT + LABEL + (side + LABEL) * len(lines)), "white")
    draw = ImageDraw.Draw(sheet)
    draw_overview(draw, width, data.classes, data.counts()[shown.split], sides, data.image_size)
    for number, (title, images) in enumerate(halves):
        left = number * (half + GAP)
        draw_text(draw, (left + MARGIN, HEIGHT + MARGIN), shorten_text(title, TEXT, half), "grey", TEXT)
        for line, indices in enumerate(lines):
            top = HEIGHT + LABEL + line * (side + LABEL)
            if number == 0:
                count = int((part.labels == line).sum())
                words = shorten_text(data.classes[line], TEXT, half, f" ({count:,})")
                draw_text(draw, (MARGIN, top + MARGIN), words, "black", TEXT)
            for column, index in enumerate(indices.tolist()):
                pixels = np.repeat(images[index], 4 - images[index].shape[2], 2)[..., :3]  # grey three times
                tile = Image.fromarray(pixels).resize((side, side), resampling)
                sheet.paste(tile, (left + column * (side + MARGIN), top + LABEL))
    files.write_with(path, lambda file: sheet.save(file, "PNG"))


def _augment_images(data: ImageSet, config: DataConfig, indices: list[int]) -> dict[int, np.ndarray]:
    """These training images as (S, S, C) uint8 after augmentation, in a separate batch."""
    few = Split(data.train.images, data.train.labels[indices], data.train.rows[indices])
    batch_size = config.model_copy(update={"batch_size": len(indices)})
    feed = Feed(replace(data, train=few), batch_size, seed=0, device=torch.device("cpu"))
    found = {}
    for step in feed.train(1):
        for batch in step.parts:
            for index, pixels in zip(batch.index.tolist(), to_pixels(batch.images, data.mean, data.std), strict=True):
                found[indices[index]] = pixels
    return found
