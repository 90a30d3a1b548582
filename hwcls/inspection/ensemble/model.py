"""Models whose probabilities are averaged, as one classifier."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hwcls.data.imageset import ImageSet, InputSpec
from hwcls.errors import UserError
from hwcls.format import format_count
from hwcls.inspection.load_trained import WEIGHTS, Classifier, Trained, load_trained
from hwcls.reading import read_json
from hwcls.tracking.folders import MEMBERS
from hwcls.tracking.shapes import EnsembleShape

MODEL_KEYS = {"name", "classes", "mean", "std"}  # of InputSpec: what is done to pixels, not how an image becomes them


@dataclass(frozen=True)
class Ensemble:
    """Trained models of the same classes; each has a share in the average of their probabilities."""

    path: Path
    members: tuple[Trained, ...]
    shares: tuple[float, ...]  # they sum to 1

    def __post_init__(self) -> None:
        for one in self.members:
            if one.classes != self.classes:
                what, first = "its models tell different classes apart", self.members[0]
                remedy = f"{one.path} has {len(one.classes)}, {first.path} has {len(first.classes)}"
                raise UserError(what, where=str(self.path), remedy=remedy)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.members[0].classes

    @property
    def views(self) -> int:
        return max(one.views for one in self.members)

    @property
    def title(self) -> str:
        """What it is called in a picture."""
        return f"ensemble of {len(self.members)}"

    @cached_property
    def decodings(self) -> tuple[InputSpec, ...]:
        return tuple(one.inputs for one in self._distinct)

    @cached_property
    def data_sets(self) -> tuple[ImageSet, ...]:
        return tuple(one.data for one in self._distinct)

    def changed_images(self, split: str) -> str | None:
        """As of a single model: all were trained on the same images."""
        return self.members[0].changed_images(split)

    @cached_property
    def _distinct(self) -> list[Trained]:
        """The first member of each way in which images are decoded."""
        found: dict[str, Trained] = {}
        for one in self.members:
            found.setdefault(decoding_key(one.inputs), one)
        return list(found.values())

    def probabilities(self, *pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(B, S, S, C) uint8, in each way of `decodings`, to (B, K) float32."""
        by_key = dict(zip(map(decoding_key, self.decodings), pixels, strict=True))
        parts = [one.probabilities(by_key[decoding_key(one.inputs)]) for one in self.members]
        return average(parts, self.shares)

    def with_views(self, count: int) -> Ensemble:
        """Averaged over at most `count` views; members without an augmentation see the plain image alone.

        Raises UserError where no member has more than one view.
        """
        found: list[Trained] = []
        errors: list[UserError] = []
        for one in self.members:
            try:
                found.append(one.with_views(count))
            except UserError as error:
                errors.append(error)
                found.append(one)
        if len(errors) == len(self.members):
            raise errors[0]
        return replace(self, members=tuple(found))


def average(scores: Sequence[np.ndarray[Any, Any]], shares: Sequence[float]) -> np.ndarray[Any, Any]:
    """Probabilities (N, K) of several models, averaged by their shares: float32."""
    total = sum(share * one.astype(np.float64) for one, share in zip(scores, shares, strict=True))
    found: np.ndarray[Any, Any] = np.asarray(total, np.float32)
    return found


def decoding_key(inputs: InputSpec) -> str:
    """Equal for inputs to which an image is decoded alike, whatever is done to its pixels then."""
    return json.dumps({key: value for key, value in inputs.to_dict().items() if key not in MODEL_KEYS}, sort_keys=True)


def is_ensemble(path: Path) -> bool:
    """Whether a folder holds an ensemble, be it damaged: reading it then names the file."""
    return os.path.lexists(path / MEMBERS)


def load_ensemble(path: Path, progress: Callable[[str], None] | None = None) -> Ensemble:
    """Open the folder that `hwcls ensemble` wrote, with the views that it was scored with.

    Raises:
        UserError: A member is missing or damaged, or another one than was written.
    """
    about: Mapping[str, Any] = read_json(path / MEMBERS, EnsembleShape)
    members, times = [], [one["times"] for one in about["members"]]
    for one in about["members"]:
        trained = load_trained(path / Path(one["folder"]).name, progress)
        if hashlib.sha256((trained.path / WEIGHTS).read_bytes()).hexdigest() != one["weights"]["sha256"]:
            remedy = "copy the whole folder again, or run hwcls ensemble again"
            raise UserError(
                f"is not the file that {MEMBERS} describes", where=str(trained.path / WEIGHTS), remedy=remedy
            )
        members.append(trained)
    found = Ensemble(path, tuple(members), tuple(count / sum(times) for count in times))
    return found if about.get("views", 1) == 1 else found.with_views(about["views"])


def load_classifier(
    path: Path, progress: Callable[[str], None] | None = None, views: int | None = None
) -> Trained | Ensemble:
    """Open a trial's folder or an ensemble's; `views` None: as many as the ensemble was scored with, of a trial one."""
    found = load_ensemble(path, progress) if is_ensemble(path) else load_trained(path, progress)
    if views is None:
        return found
    found = found.with_views(views)
    report_views(found, views, progress)
    return found


def report_views(model: Classifier, wanted: int, progress: Callable[[str], None] | None) -> None:
    """Say where a model has fewer views than were asked for."""
    if model.views < wanted and progress is not None:
        views = format_count(model.views, "view")
        progress(f"note: {views} in place of {wanted}: the training did no more than mirror images")
