"""A trained model from Python: it predicts, and is a torch module."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwcls.api.user_errors import as_python_errors
from hwcls.errors import UserError
from hwcls.models.user.trust import all_accepted

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hwcls.api.images import ImageLike
    from hwcls.api.predictions import Predictions
    from hwcls.inspection.ensemble.model import Ensemble
    from hwcls.inspection.load_trained import Trained

TOP = 5  # classes of each prediction; `probabilities` has all


@dataclass(frozen=True, eq=False)
class Model:
    """The weights in a trial's folder, or an ensemble's, which are read when they are first needed.

    Attributes:
        folder: Of a trial or an ensemble.
        trust_code: Run the code of a model of the user's own that no sweep on this machine has run.
    """

    folder: Path
    trust_code: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the probabilities."""
        return self._trained.classes

    def predict(self, images: ImageLike | Iterable[ImageLike], *, views: int | None = None) -> Predictions:
        """Classify images, which are decoded, cropped and normalised like those that the model was trained on.

        Args:
            images: One or more: paths (files, folders, archives, patterns, URLs), PIL images, or arrays (H, W),
                (H, W, 3) or (N, H, W, C) of uint8 from 0 to 255; of more bits, in grey, where the model was trained on
                images of more than 8 bits.
            views: Average over so many views of each image, 1 or more; None: the plain one.

        Raises:
            UserError: There are no weights, `views` is below 1, or something that is given is no image. A file that
                cannot be decoded stops nothing: its prediction has an `error`.
        """
        from hwcls.api.images import list_sources
        from hwcls.api.predictions import Predictions
        from hwcls.inspection.predictions import BATCH, predict_batches

        if views is not None and views < 1:
            raise UserError(f"{views} views of an image", where="views", remedy="write 1 or more, or leave it out")
        with as_python_errors():
            trained = self._trained if views is None else self._load(views)
            every = [inputs.pixel_range for inputs in trained.decodings]  # of an ensemble's models
            sources = list_sources(images, None if None in every else every[0])
            k = min(TOP, len(trained.classes))
            return Predictions.of(trained.classes, predict_batches(trained, sources, k, BATCH))

    def model(self) -> nn.Module:
        """A module of its own in evaluation mode, on the CPU: (B, C, S, S) floats to (B, K) logits.

        `preprocess` makes its inputs, `describe` says how. Raises UserError as `predict`, and for an ensemble whose
        models take images in several ways.
        """
        from hwcls.inspection.ensemble.averaged import merge_models

        with as_python_errors():
            return merge_models(self._trained).eval()

    def preprocess(self, images: ImageLike | Iterable[ImageLike]) -> Tensor:
        """Images as `model` takes them: (N, C, S, S) float32; raises UserError where one cannot be read."""
        import numpy as np
        import torch

        from hwcls.api.images import list_sources
        from hwcls.data.decoding.decode import READ_ERRORS
        from hwcls.inspection.load_trained import normalise_pixels
        from hwcls.inspection.predictions import decode_as_trained

        inputs, pixels = self._trained.decodings[0], []
        for source in list_sources(images, inputs.pixel_range):
            try:
                pixels.append(decode_as_trained(source.read(), inputs))  # (S, S, C) uint8
            except READ_ERRORS as error:
                raise UserError(f"cannot be read as an image ({error})", where=source.name) from None
        side = inputs.image_size
        stacked = np.stack(pixels) if pixels else np.empty((0, side, side, inputs.channels), np.uint8)
        return normalise_pixels(inputs, stacked, torch.device("cpu"))

    def describe(self) -> dict[str, Any]:
        """Classes, inputs and outputs, and how an image file becomes an input, step by step: JSON-ready values."""
        from hwcls.inspection.export import describe

        return describe(self._trained)

    @cached_property
    def _trained(self) -> Trained | Ensemble:
        return self._load()

    def _load(self, views: int | None = None) -> Trained | Ensemble:
        from hwcls.inspection.ensemble.model import load_classifier

        with as_python_errors(), all_accepted(self.trust_code):
            return load_classifier(self.folder, views=views)


def load_model(path: str | os.PathLike[str], *, trust_code: bool = False) -> Model:
    """Open a trained model: a trial's folder, an ensemble's, or a sweep's `best/`, wherever it was moved to.

    Args:
        path: The folder; for a sweep's own, use `load_results(path).best`.
        trust_code: Run the code of a model of the user's own that no sweep on this machine has run; it is remembered.

    Raises:
        UserError: It holds no model, or a file in it is damaged.
    """
    folder = Path(path).expanduser()
    if os.path.lexists(folder / "sweep.yaml"):
        remedy = f"load_results({os.fspath(path)!r}).best is its best model"
        raise UserError("is a sweep's folder, not a trial's", where=str(folder), remedy=remedy)
    found = Model(folder, trust_code)
    _ = found.classes  # read now, so that errors are raised here
    return found
