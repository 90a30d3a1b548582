"""Gradient flow: how large the gradient of each layer is, epoch by epoch, without a device sync."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hwcls.training.step.foreach import norms

Weights = Mapping[str, nn.Parameter]


def layer_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """The trained weights of more than one axis, by the name of their layer; without norms and biases."""
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad and weight.ndim > 1}
    return {name.removesuffix(".weight"): weight for name, weight in trained.items()}


def gradients_of(weights: Weights) -> dict[str, Tensor]:
    """Their gradients; a single zero for a layer without a gradient."""
    return {name: weight.new_zeros(1) if weight.grad is None else weight.grad for name, weight in weights.items()}


class GradientFlow:
    """The mean and the largest |gradient| of each layer (L of them), once for each epoch (E)."""

    def __init__(self) -> None:
        self.layers: dict[str, int] = {}  # name -> number of weights
        self.sums: dict[int, Tensor] = {}  # epoch -> (L,) sums of |gradient|, on the device
        self.largest: dict[int, Tensor] = {}  # epoch -> (L,)

    def add(self, weights: Weights, epoch: int) -> None:
        """Add the current gradients of `weights`."""
        if not weights:
            return
        layers = {name: weight.numel() for name, weight in weights.items()}
        if layers != self.layers:  # a part was frozen until now: the epochs since then are kept
            self.layers, self.sums, self.largest = layers, {}, {}
        found = list(gradients_of(weights).values())
        # two launches for all layers; the values stay on the device until they are saved
        self.sums[epoch] = norms(found, 1)  # (L,)
        self.largest[epoch] = norms(found, float("inf"))  # (L,)

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """`layers` (L,), `epochs` (E,), `gradient_mean` and `gradient_max` (E, L) float32; nothing before an epoch."""
        if not self.sums:
            return {}
        counts = np.array(list(self.layers.values()))  # (L,)
        sums, largest = (torch.stack(list(part.values())).cpu().numpy() for part in (self.sums, self.largest))  # (E, L)
        return {
            "layers": np.array(list(self.layers)),
            "epochs": np.array(list(self.sums), np.int32),
            "gradient_mean": (sums / counts).astype(np.float32),
            "gradient_max": largest.astype(np.float32),
        }

    def state(self) -> dict[str, Any]:
        return {"layers": dict(self.layers), "sums": dict(self.sums), "largest": dict(self.largest)}

    def load_state(self, state: dict[str, Any]) -> None:
        self.layers, self.sums, self.largest = (dict(state[key]) for key in ("layers", "sums", "largest"))
