"""Reads the recorded arrays of a training (hwcls.inspection.record) from a trial's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwcls.errors import UserError
from hwcls.escape import shell_word
from hwcls.inspection.load_trained import trial_config
from hwcls.training.artifacts import read_arrays

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class LayerGradient:
    """The |gradient| of a layer's weights in an epoch's last step, before clipping."""

    epoch: int
    mean: float
    max: float


def load_recorded(trial: Path) -> Arrays:
    """The arrays of a trial's inspection.npz; raises UserError where it is no trial or has none."""
    trial_config(trial)
    path = (trial.parent if trial.name == "config.yaml" else trial) / "inspection.npz"
    try:
        return read_arrays(path)
    except FileNotFoundError:
        again = f"train it again: hwcls train {shell_word(path.parent / 'config.yaml')}"
        raise UserError("nothing was recorded during this training", where=str(path), remedy=again) from None


def first_and_last_gradients(arrays: Arrays) -> dict[str, tuple[LayerGradient, LayerGradient]]:
    """For each layer, from the image on, its gradients in the first and in the last recorded epoch."""
    if "layers" not in arrays:
        return {}
    epochs, mean, most = (arrays[key].tolist() for key in ("epochs", "gradient_mean", "gradient_max"))
    return {
        name: (
            LayerGradient(epochs[0], mean[0][place], most[0][place]),
            LayerGradient(epochs[-1], mean[-1][place], most[-1][place]),
        )
        for place, name in enumerate(arrays["layers"].tolist())
    }
