"""The convolutional net with gated linear units."""

from __future__ import annotations

from torch import nn

from hwcls.config.model import GatedCnnConfig, Norm
from hwcls.models.layers import conv, halving_net, he_init, norm_layer


def gated_block(channels_in: int, channels_out: int, norm: Norm) -> list[nn.Module]:
    """3x3 convolution, 2x2 max pooling, norm, gate: (B, in, H, W) to (B, out, H // 2, W // 2).

    The convolution makes values and gates, and each value is multiplied with the sigmoid of its gate:
    (X * W + b) x sigmoid(X * V + c), arXiv 1612.08083, equation 1. Pooling comes first as in `pooled_block`.
    """
    both = 2 * channels_out
    layers = [conv(channels_in, both, norm=norm), nn.MaxPool2d(2), norm_layer(both, norm)]  # (B, 2 * out, H / 2, W / 2)
    return [*layers, nn.GLU(1)]  # (B, out, H / 2, W / 2)


def build(config: GatedCnnConfig, *, classes: int, channels: int, image_size: int) -> nn.Module:
    """`depth` gated blocks that each halve the image and double the width, then the head on all positions.

    Maps (B, channels, image_size, image_size) to (B, classes). Raises UserError where the image cannot be halved
    `depth` times.
    """

    def block(channels_in: int, channels_out: int) -> list[nn.Module]:
        return gated_block(channels_in, channels_out, config.norm)

    model = halving_net(block, config, classes=classes, channels=channels, image_size=image_size)
    return he_init(model) if config.norm == "none" else model
