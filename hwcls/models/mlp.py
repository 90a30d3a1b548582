"""The fully connected net."""

from __future__ import annotations

from torch import nn

from hwcls.config.model import MlpConfig
from hwcls.models.layers import Head, he_init


def build(config: MlpConfig, *, classes: int, channels: int, image_size: int) -> nn.Module:
    """`depth` hidden layers of `width` with ReLU and dropout on the flattened image, then the head.

    Maps (B, channels, image_size, image_size) to (B, classes).
    """
    layers: list[nn.Module] = [nn.Flatten()]  # (B, channels * image_size**2)
    features = channels * image_size**2
    for _ in range(config.depth):
        layers += [nn.Linear(features, config.width), nn.ReLU()]  # (B, width)
        if config.dropout:
            layers.append(nn.Dropout(config.dropout))
        features = config.width
    return he_init(nn.Sequential(*layers, Head(features, classes, config.head)))
