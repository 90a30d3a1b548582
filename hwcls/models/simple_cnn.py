"""The plain convolutional net."""

from __future__ import annotations

from torch import nn

from hwcls.config.model import SimpleCnnConfig
from hwcls.models.layers import Flatten, Head, he_init, pooled_block, require_side


def build(config: SimpleCnnConfig, *, classes: int, channels: int, image_size: int) -> nn.Module:
    """`depth` blocks that each halve the image and double the width, then the head on all positions.

    Maps (B, channels, image_size, image_size) to (B, classes). Raises UserError where the image cannot be halved
    `depth` times.
    """
    require_side(
        image_size,
        2**config.depth,
        f"simple_cnn with depth {config.depth}",
        f"set data.image_size to {2**config.depth} or more, or a lower model.depth",
    )
    layers: list[nn.Module] = []
    width, side = config.width, image_size
    for block in range(config.depth):
        width = config.width * 2**block
        layers += pooled_block(channels, width, config.norm)  # (B, width, side // 2, side // 2)
        channels, side = width, side // 2
    flatten = Flatten(side)
    model = nn.Sequential(*layers, flatten, Head(flatten.features(width), classes, config.head))
    return he_init(model) if config.norm == "none" else model
