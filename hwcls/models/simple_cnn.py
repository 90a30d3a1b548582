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

    def block(channels_in: int, channels_out: int) -> list[nn.Module]:
        return pooled_block(channels_in, channels_out, config.norm)

    model = halving_net(block, config, classes=classes, channels=channels, image_size=image_size)
    return he_init(model) if config.norm == "none" else model
