"""The convolutional net with channel and spatial attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from hwcls.config.model import MODELS, HeadConfig, ModelFamily

if TYPE_CHECKING:
    from torch import nn


@MODELS.register("attention_cnn")
class AttentionCnnConfig(ModelFamily):
    """simple_cnn with a CBAM (channel, then spatial attention; arXiv 1807.06521) after each block."""

    name: Literal["attention_cnn"] = "attention_cnn"
    width: int = Field(
        32,
        ge=1,
        le=1024,
        description="Channels of the first block; later ones double them.",
        examples=[{"values": [16, 32]}],
    )
    depth: int = Field(2, ge=1, le=4, description="Convolution blocks.", examples=[{"min": 1, "max": 3}])
    reduction: int = Field(16, ge=1, le=64, description="Channels per hidden unit of the channel attention.")
    kernel: Literal[3, 5, 7] = Field(7, description="Kernel of the spatial attention.")
    head: HeadConfig = Field(HeadConfig(), description="The fully connected layers on top.")

    def build(self, *, classes: int, channels: int, image_size: int) -> nn.Module:
        """`depth` blocks that each halve the image and double the width, each with a CBAM, then the head.

        Channel attention comes first, spatial attention second, as arXiv 1807.06521 found best. The head is on all
        positions. Raises UserError where the image cannot be halved `depth` times.
        """
        from hwcls.models.attention import ChannelAttention, SpatialAttention
        from hwcls.models.layers import halving_net, pooled_block

        def block(channels_in: int, channels_out: int) -> list[nn.Module]:
            attention = [ChannelAttention(channels_out, self.reduction), SpatialAttention(self.kernel)]
            return [*pooled_block(channels_in, channels_out, "batch"), *attention]

        return halving_net(block, self, classes=classes, channels=channels, image_size=image_size)
