"""The convolutional net with shortcuts."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

from hwcls.config.model import Norm, ResidualCnnConfig
from hwcls.models.layers import GlobalAverage, Head, conv, he_init, norm_layer, require_side

WIDEST = 8  # times the first width, as in ResNet


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut: (B, in, H, W) to (B, out, ceil(H / stride), ceil(W / stride)).

    The basic block of arXiv 1512.03385; the shortcut is a 1x1 convolution where the shape changes.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = conv(channels_in, channels_out, stride=stride, norm=norm)
        self.norm1 = norm_layer(channels_out, norm)
        self.conv2 = conv(channels_out, channels_out, norm=norm)
        self.norm2 = norm_layer(channels_out, norm)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                conv(channels_in, channels_out, 1, stride=stride, norm=norm), norm_layer(channels_out, norm)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = relu(self.norm1(self.conv1(x)))  # (B, out, H / stride, W / stride)
        y = self.norm2(self.conv2(y))
        return relu(y + self.shortcut(x))


def build(config: ResidualCnnConfig, *, classes: int, channels: int, image_size: int) -> nn.Module:
    """A 3x3 stem, `blocks` residual blocks and the head on the mean of all positions.

    Maps (B, channels, image_size, image_size) to (B, classes). Each block but the first halves the image and doubles
    the width, up to eight times the first. Raises UserError where a single pixel would have to be halved.
    """
    least = 2 ** max(config.blocks - 2, 0) + 1 if config.blocks > 1 else 1
    require_side(
        image_size,
        least,
        f"residual_cnn with {config.blocks} blocks",
        f"set data.image_size to {least} or more, or fewer model.blocks",
    )
    width = config.width
    layers = [conv(channels, width, norm=config.norm), norm_layer(width, config.norm), nn.ReLU(inplace=True)]
    for block in range(config.blocks):
        wider = config.width * min(2**block, WIDEST)
        layers.append(ResidualBlock(width, wider, 1 if block == 0 else 2, config.norm))
        if config.dropout:
            layers.append(nn.Dropout2d(config.dropout))
        width = wider
    model = nn.Sequential(*layers, GlobalAverage(), Head(width, classes, config.head))
    return he_init(model) if config.norm == "none" else model
