"""Scores of saved weights on a split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load

from hwcls import metrics
from hwcls.config.model import TimmConfig
from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import open_data
from hwcls.errors import UserError
from hwcls.training.distributed import World
from hwcls.training.trainer import Trainer


@dataclass(frozen=True)
class Scored:
    """What a model makes of a split of N images and K classes."""

    values: dict[str, float]  # test/loss, test/accuracy, test/macro_f1 (or val/..., train/...)
    labels: np.ndarray[Any, Any]  # (N,) int64
    scores: np.ndarray[Any, Any]  # (N, K) float16 probabilities


def evaluate(config: TrialConfig, weights: bytes, split: Literal["train", "val", "test"]) -> Scored:
    """Score the weights (a safetensors file's content) of a trial on one split, unaugmented.

    Raises:
        UserError: The weights are no safetensors file or belong to another model.
    """
    data = open_data(config.data)
    if isinstance(config.model, TimmConfig):  # the weights are given: none need be fetched
        config = config.model_copy(update={"model": config.model.model_copy(update={"pretrained": False})})
    trainer = Trainer(config, data, World())
    try:
        trainer.model.load_state_dict(load(weights))
    except (RuntimeError, SafetensorError) as error:
        raise UserError(f"the weights are not of this model ({str(error).splitlines()[0]})", where="weights") from None
    part = getattr(data, split)
    found = trainer.evaluate(split)
    confusion = found.confusion.cpu().numpy()
    values = {
        f"{split}/loss": float(found.loss) / len(part),
        f"{split}/accuracy": float(metrics.accuracy(confusion)),
        f"{split}/macro_f1": float(metrics.macro_f1(confusion)),
    }
    return Scored(values, part.labels, trainer.scores(found, len(part)))
