"""The first layer's output for an image."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from hwcls.data.loader import EpochFeed
from hwcls.training.step.ghost_batches import GroupFeed

CHANNELS, SIDE = 16, 64  # at most; keeps the file small


class _FirstLayerReached(Exception):
    """The first layer was called."""


def first_layer(model: nn.Module, images: Tensor) -> tuple[nn.Module, Tensor] | None:
    """The first convolution or linear layer that runs on `images` (B, C, H, W), and its input; None without one."""
    found: list[tuple[nn.Module, Tensor]] = []

    def stop(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found.append((module, inputs[0]))
        raise _FirstLayerReached

    layers = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    hooks = [layer.register_forward_pre_hook(stop) for layer in layers]
    try:
        model(images)
    except _FirstLayerReached:
        return found[0]
    finally:
        for hook in hooks:
            hook.remove()
    return None


class Activations:
    """The first layer's output for the first image of val, after the latest epoch."""

    def __init__(self) -> None:
        self.maps: Tensor | None = None  # (C, H, W), on the device
        self.images: Tensor | None = None  # (1, C, S, S), on the device
        self.image: np.ndarray[Any, Any] | None = None  # (S, S, channels) uint8

    @torch.no_grad()
    def update(self, model: nn.Module, feed: EpochFeed | GroupFeed) -> None:
        """Run the model up to its first layer, before which a trained norm may be, and that layer."""
        if self.images is None:
            val = feed.data.val
            self.image = np.array(val.images[val.rows[0]])
            self.images = next(feed.evaluate("val", batch_size=1)).images
        training = model.training
        model.eval()
        found = first_layer(model, self.images)
        model.train(training)
        if found is not None:
            module, inputs = found
            self.maps = _small(module(inputs)[0])

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """`activation_image` (S, S, C) uint8 and `activations` (K, h, w) float16; (K, 1, 1) of a linear layer."""
        if self.maps is None or self.image is None:
            return {}
        return {"activation_image": self.image, "activations": self.maps.float().cpu().numpy().astype(np.float16)}

    def state(self) -> dict[str, Any]:
        return {"maps": self.maps, "image": None if self.image is None else torch.from_numpy(self.image)}

    def load_state(self, state: dict[str, Any]) -> None:
        self.maps = state["maps"]
        image = state["image"]
        self.image = None if image is None else image.cpu().numpy()


def _small(maps: Tensor) -> Tensor:
    """The first CHANNELS maps (K, h, w) of at most SIDE pixels a side."""
    if maps.ndim != 3:  # (D,) of a linear layer, (tokens, D) of one on patches
        return maps.flatten()[: CHANNELS * SIDE, None, None]
    maps = maps[:CHANNELS]
    side = (min(maps.shape[1], SIDE), min(maps.shape[2], SIDE))
    return maps if maps.shape[1:] == side else adaptive_avg_pool2d(maps, side)
