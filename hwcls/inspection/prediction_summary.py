"""What is said after predictions: notes on all of them, and the images without one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from hwcls.data.decoding.codecs import remedy_for
from hwcls.escape import printable
from hwcls.inspection.explanations import SHOWN, draw_overview
from hwcls.inspection.predictions import NOT_A_NUMBER, Prediction, folder_class

MISSING = os.strerror(errno.ENOENT).lower()


class PredictionSummary:
    """Counts predictions as they pass.

    Attributes:
        read: How many images could be read.
        unread: Those that could not be.
        pictures: The first pictures that explain them.
    """

    def __init__(self, classes: Iterable[str]) -> None:
        self.classes = frozenset(classes)
        self.read = self.labelled = self.agreeing = self.full_range = 0
        self.first_wide = ""
        self.unread: list[Prediction] = []
        self.pictures: list[Path] = []

    def count(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """The same predictions."""
        for prediction in predictions:
            if prediction.error is not None:
                self.unread.append(prediction)
            else:
                self._count_read(prediction)
            yield prediction

    def _count_read(self, prediction: Prediction) -> None:
        self.read += 1
        if label := folder_class(prediction.file, self.classes):
            self.labelled += 1
            self.agreeing += label == prediction.top[0][0]
        if prediction.full_range:
            self.full_range += 1
            self.first_wide = self.first_wide or prediction.file
        if prediction.explanation and len(self.pictures) < SHOWN:
            self.pictures.append(Path(prediction.explanation))

    def notes(self, explained: Path | None = None) -> Iterator[str]:
        """Where the predictions are explained, drawing the first ones together; whether they agree with the folders,
        where all of these name classes; images of more than 8 bits.
        """
        if explained is not None and self.pictures:
            overview = draw_overview(self.pictures, explained)
            yield f"explained in {explained}; the first {len(self.pictures)} together: {overview}"
        if self.read and self.labelled == self.read:
            share = f"{self.agreeing:,} of {self.read:,} ({self.agreeing / self.read:.1%})"
            share += "; any that it was trained on count, too"
            yield f"images whose folder has the name of the predicted class: {share}"
        if self.full_range:
            what = f"note: more than 8 bits, such as {self.first_wide}: {self.full_range:,}; the training images had 8"
            yield f"{what}, so 0 to 65535 became 0 to 255: save them with 8 bits, scaled as you see fit"

    def errors(self) -> Iterator[str]:
        """A line for each image that could not be read, or that the model has no probabilities for."""
        for prediction in self.unread:
            if prediction.error == NOT_A_NUMBER:
                yield f"hwcls: {printable(prediction.file)}: {NOT_A_NUMBER} — name another trial, this one diverged"
                continue
            problem, is_remote = str(prediction.error), "://" in prediction.file
            otherwise = "check the address" if is_remote else "replace or remove it"
            remedy = remedy_for(problem) or (otherwise if problem != MISSING else "check its name")
            yield f"hwcls: {printable(prediction.file)}: cannot be read ({problem}) — {remedy}"
