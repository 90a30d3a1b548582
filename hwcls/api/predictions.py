"""What a model predicts for some images: class names and probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from hwcls.api.html import render_table
from hwcls.format import format_cell, format_count

if TYPE_CHECKING:
    import pandas as pd

    from hwcls.inspection.predictions import PredictedBatch, Prediction

MAX_ROWS = 20  # of the table in a notebook


@dataclass(frozen=True, eq=False)
class Predictions(Sequence["Prediction"]):
    """The predictions of N images for K classes, in the order of the images; item i has the best classes of image i.

    Attributes:
        classes: The K class names, in the order of the probabilities.
        probabilities: (N, K) float32, each row sums to 1; NaN for an image that cannot be read.
        images: The predictions one by one, with `error` where an image cannot be read.
    """

    classes: tuple[str, ...]
    probabilities: np.ndarray[Any, Any]
    images: tuple[Prediction, ...]

    @classmethod
    def of(cls, classes: Sequence[str], batches: Iterable[PredictedBatch]) -> Predictions:
        """Those of all batches."""
        images: list[Prediction] = []
        rows: list[np.ndarray[Any, Any]] = []
        for batch in batches:
            scores = np.full((len(batch.predictions), len(classes)), np.nan, np.float32)  # (B, K)
            scores[[one.error is None for one in batch.predictions]] = batch.scores
            images += batch.predictions
            rows.append(scores)
        probabilities = np.concatenate([np.empty((0, len(classes)), np.float32), *rows])  # (N, K)
        return cls(tuple(classes), probabilities, tuple(images))

    @property
    def labels(self) -> list[str | None]:
        """The most probable class of each image; None for one that cannot be read."""
        return [one.top[0][0] if one.top else None for one in self.images]

    @property
    def files(self) -> list[str]:
        """The file of each image, in the order of `labels`."""
        return [one.file for one in self.images]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row an image: file, class, probability, margin (between the two best classes), entropy (nats), error."""
        import pandas as pd

        return pd.DataFrame(self._rows(), columns=["file", "class", "probability", "margin", "entropy", "error"])

    def _rows(self) -> list[dict[str, Any]]:
        rows = []
        for one in self.images:
            row: dict[str, Any] = {"file": one.file, "error": one.error}
            if one.top:
                best, probability = one.top[0]
                row |= {"class": best, "probability": probability, "margin": one.margin, "entropy": one.entropy}
            rows.append(row)
        return rows

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, place: int) -> Prediction: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Prediction]: ...
    def __getitem__(self, place: int | slice) -> Prediction | Sequence[Prediction]:
        return self.images[place]

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.images)

    def __repr__(self) -> str:
        return f"Predictions of {format_count(len(self), 'image')} for {len(self.classes):,} classes"

    def _repr_html_(self) -> str:
        rows = self._rows()[:MAX_ROWS]
        names = ["file", "class", "probability", *(["error"] if any(row["error"] for row in rows) else [])]
        return render_table(names, [[format_cell(name, row.get(name)) for name in names] for row in rows], len(self))
