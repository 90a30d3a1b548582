"""A picture of a data set: a few training images per class, as they are and as training sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from hwcls import files
from hwcls.config.data import DataConfig
from hwcls.data.batches import Feed
from hwcls.data.imageset import ImageSet

MARGIN, LABEL = 2, 14  # pixels


def picture_grid(data: ImageSet, config: DataConfig, path: Path, *, columns: int = 8, rows: int = 10) -> None:
    """Write a PNG: a line per class with its name, plain images on the left, the same ones augmented on the right.

    Args:
        config: What `data` was opened with; its augmentation is shown (epoch 1, seed 0).
        columns: Images per class and half.
        rows: At most so many classes, the first ones.
    """
    labels = torch.from_numpy(data.train.labels)
    shown = [torch.nonzero(labels == label)[:columns, 0].tolist() for label in range(min(rows, len(data.classes)))]
    wanted = {index for line in shown for index in line}
    feed = Feed(data, config, seed=0, device=torch.device("cpu"))
    augmented: dict[int, np.ndarray] = {}
    for step in feed.train(1):
        for batch in step.parts:
            for place, index in enumerate(batch.index.tolist()):
                if index in wanted:
                    augmented[index] = _pixels(batch.images[place], data)
    zoom = max(1, round(64 / data.image_size))
    side = data.image_size * zoom + MARGIN
    sheet = Image.new("RGB", (side * (2 * columns + 1), (side + LABEL) * len(shown)), "white")
    draw = ImageDraw.Draw(sheet)
    for line, indices in enumerate(shown):
        top = line * (side + LABEL)
        draw.text((MARGIN, top), data.classes[line], fill="black")
        for column, index in enumerate(indices):
            plain = data.train.images[data.train.rows[index]]
            for pixels, shift in ((plain, 0), (augmented.get(index), columns + 1)):
                if pixels is not None:  # the last ragged batch may have been left out
                    tile = Image.fromarray(np.repeat(pixels, 3, 2) if data.channels == 1 else pixels)
                    tile = tile.resize((side - MARGIN, side - MARGIN), Image.Resampling.NEAREST)
                    sheet.paste(tile, ((column + shift) * side, top + LABEL))
    files.write_with(path, lambda file: sheet.save(file, "PNG"))


def _pixels(image: torch.Tensor, data: ImageSet) -> np.ndarray:
    """A normalised (C, S, S) image back as (S, S, C) uint8."""
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (data.mean, data.std))
    pixels = ((image.float() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(1, 2, 0).numpy()
