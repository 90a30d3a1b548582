"""Arrays recorded during a training, for inspection.npz.

Keys, with E epochs, L layers, H kept epochs and B bins; absent where they do not apply to a model:

    layers (L,), epochs (E,)                           names of layers; epochs from 1
    gradient_mean, gradient_max (E, L)                 |gradient| in the epoch's last step, before clipping
    weights/epochs (H,)                                1, 2, 4, 8, ... and the last
    weights/<layer>/counts (H, B), .../edges (H, B+1)  after the epoch; of 32 layers at most
    gradients/epochs, gradients/<layer>/...            the same for the gradients above
    activation_image (S, S, C), activations (K, h, w)  the first image of val and the first layer's output
    reconstructions/input, .../output (P, S, S, C)     of a pretrained autoencoder; made when the model is built
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from torch import nn

from hwcls.data.loader import EpochFeed
from hwcls.inspection.activations import Activations
from hwcls.inspection.gradients import GradientFlow, gradients_of, layer_weights
from hwcls.inspection.histograms import Histograms
from hwcls.tracking.records import EpochRecord
from hwcls.training.observer import Observer
from hwcls.training.step.ghost_batches import GroupFeed


class Part(Protocol):
    """One recorded quantity; the methods are an Observer's."""

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]: ...
    def state(self) -> dict[str, Any]: ...
    def load_state(self, state: dict[str, Any]) -> None: ...


class InspectionRecorder(Observer):
    """Keeps gradient flow, histograms and first-layer activations."""

    def __init__(self) -> None:
        self.flow, self.first = GradientFlow(), Activations()
        self.gradients, self.weights = Histograms("gradients"), Histograms("weights")
        self.parts: dict[str, Part] = {
            "flow": self.flow,
            "gradients": self.gradients,
            "weights": self.weights,
            "first": self.first,
        }

    def before_clip(self, model: nn.Module, rank: int, epoch: int) -> None:
        if rank:
            return
        weights = layer_weights(model)
        self.flow.add(weights, epoch)
        self.gradients.add(gradients_of(weights), epoch)

    def after_epoch(self, model: nn.Module, feed: EpochFeed | GroupFeed, record: EpochRecord) -> None:
        self.weights.add(layer_weights(model), record.epoch)
        if len(feed.shape) == 3:  # cached features have no first layer on the image
            self.first.update(model, feed)

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        return {name: array for part in self.parts.values() for name, array in part.arrays().items()}

    def state(self) -> dict[str, Any]:
        return {name: part.state() for name, part in self.parts.items()}

    def load_state(self, state: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state(state[name])
