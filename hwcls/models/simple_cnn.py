"""The plain convolutional net."""

from __future__ import annotations

from torch import nn

from hwcls.config.model import SimpleCnnConfig
from hwcls.models.layers import halving_net, he_init, pooled_block


def build(config: SimpleCnnConfig, *, classes: int, channels: int, image_size: int) -> nn.Module:
    """`depth` blocks that each halve the image and double the width, then the head on all positions.

    Maps (B, channels, image_size, image_size) to (B, classes). Raises UserError where the image cannot be halved
    `depth` times.
    """
    model = halving_net(
        lambda channels_in, channels_out: pooled_block(channels_in, channels_out, config.norm),
        [config.width * 2**block for block in range(config.depth)],
        config.head,
        family=config.name,
        classes=classes,
        channels=channels,
        image_size=image_size,
    )
    return he_init(model) if config.norm == "none" else model
