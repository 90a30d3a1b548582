"""The plain convolutional net."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from hwcls.config.model import MODELS, HeadConfig, ModelFamily, Norm

if TYPE_CHECKING:
    from torch import nn


@MODELS.register("simple_cnn")
class SimpleCnnConfig(ModelFamily):
    """`depth` blocks of 3x3 convolution, pooling, norm, activation; the width doubles per block."""

    name: Literal["simple_cnn"] = "simple_cnn"
    width: int = Field(
        32,
        ge=1,
        le=1024,
        description="Channels of the first block; later ones double them.",
        examples=[{"values": [16, 32]}],
    )
    depth: int = Field(2, ge=1, le=4, description="Convolution blocks.", examples=[{"min": 1, "max": 3}])
    norm: Norm = Field("batch", description="Normalisation after each convolution.")
    head: HeadConfig = Field(HeadConfig(), description="The fully connected layers on top.")

    def build(self, *, classes: int, channels: int, image_size: int) -> nn.Module:
        """`depth` blocks that each halve the image and double the width, then the head on all positions.

        Raises UserError where the image cannot be halved `depth` times.
        """
        from hwcls.models.layers import halving_net, he_init, pooled_block

        def block(channels_in: int, channels_out: int) -> list[nn.Module]:
            return pooled_block(channels_in, channels_out, self.norm)

        model = halving_net(block, self, classes=classes, channels=channels, image_size=image_size)
        return he_init(model) if self.norm == "none" else model
