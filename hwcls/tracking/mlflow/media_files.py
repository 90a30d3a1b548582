"""The media of a run as files: pictures, and tables as CSV."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hwcls.tracking.media import Media


def write_media(media: Media, folder: Path) -> None:
    """Write <name>.png, per_class.csv, confusion.csv (true class, predicted class, images) and histograms.csv."""
    from PIL import Image

    for name, pixels in media.pictures.items():
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    _write_table(folder / "per_class.csv", media.columns, media.rows)
    pairs = Counter(zip(media.labels.tolist(), media.predicted.tolist(), strict=True))
    named = ((media.classes[true], media.classes[other], count) for (true, other), count in sorted(pairs.items()))
    _write_table(folder / "confusion.csv", ("true", "predicted", "images"), named)
    bins = (
        (one.name, one.epoch, low, high, count)
        for one in media.histograms
        for low, high, count in zip(one.edges[:-1], one.edges[1:], one.counts, strict=True)
    )
    _write_table(folder / "histograms.csv", ("name", "epoch", "from", "to", "count"), bins)


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
