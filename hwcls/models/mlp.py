"""The fully connected net."""

from __future__ import annotations

from torch import nn

from hwcls.config.model import MlpConfig
from hwcls.models.layers import Head, he_init


def build(config: MlpConfig, *, classes: int, channels: int, image_size: int) -> nn.Module:
    """The hidden layers, each with ReLU and its dropout, on the flattened image, then the head.

    Maps (B, channels, image_size, image_size) to (B, classes).
    """
    layers: list[nn.Module] = [nn.Flatten()]  # (B, channels * image_size**2)
    features = channels * image_size**2
    for width, dropout in config.hidden():
        layers += [nn.Linear(features, width), nn.ReLU()]  # (B, width)
        if dropout:
            layers.append(nn.Dropout(dropout))
        features = width
    return he_init(nn.Sequential(*layers, Head(features, classes, config.head)))
