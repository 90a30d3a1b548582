"""The convolutional net with shortcuts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from hwcls.config.model import MODELS, HeadConfig, ModelFamily, Norm

if TYPE_CHECKING:
    from torch import nn

WIDEST = 8  # times the first width, as in ResNet


@MODELS.register("residual_cnn")
class ResidualCnnConfig(ModelFamily):
    """A stem and `blocks` residual blocks (arXiv 1512.03385); each block but the first halves the image."""

    name: Literal["residual_cnn"] = "residual_cnn"
    width: int = Field(
        32,
        ge=1,
        le=1024,
        description="Channels of the first block; later ones double them.",
        examples=[{"values": [16, 32]}],
    )
    blocks: int = Field(3, ge=1, le=8, description="Residual blocks.", examples=[{"min": 2, "max": 4}])
    norm: Norm = Field("batch", description="Normalisation after each convolution.")
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Dropout of whole feature maps, after each block.",
        examples=[{"min": 0.0, "max": 0.3}],
    )
    head: HeadConfig = Field(HeadConfig(), description="The fully connected layers on top.")

    def build(self, *, classes: int, channels: int, image_size: int) -> nn.Module:
        """A 3x3 stem, `blocks` residual blocks and the head on the mean of all positions.

        Each block but the first halves the image and doubles the width, up to eight times the first. Raises UserError
        where a single pixel would have to be halved.
        """
        from torch import nn

        from hwcls.models.layers import (
            GlobalAverage,
            Head,
            ResidualBlock,
            conv,
            he_init,
            norm_layer,
            require_image_size,
        )

        least = 2 ** max(self.blocks - 2, 0) + 1 if self.blocks > 1 else 1
        require_image_size(
            image_size,
            least,
            f"residual_cnn with {self.blocks} blocks",
            f"set data.image_size to {least} or more, or fewer model.blocks",
        )
        width = self.width
        layers = [conv(channels, width, norm=self.norm), norm_layer(width, self.norm), nn.ReLU(inplace=True)]
        for block in range(self.blocks):
            wider = self.width * min(2**block, WIDEST)
            layers.append(ResidualBlock(width, wider, 1 if block == 0 else 2, self.norm))
            if self.dropout:
                layers.append(nn.Dropout2d(self.dropout))
            width = wider
        model = nn.Sequential(*layers, GlobalAverage(), Head(width, classes, self.head))
        return he_init(model) if self.norm == "none" else model
