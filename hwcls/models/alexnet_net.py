"""The layers of AlexNet."""

from __future__ import annotations

from torch import Tensor, nn

from hwcls.config.model import HeadConfig, PretrainConfig
from hwcls.models.layers import Flatten, Head, conv, he_init
from hwcls.models.unet import LEVELS, UNetEncoder, encoder_width

# per convolution: its width as a multiple of the first, and whether the map is halved after it
STAGES = ((1, True), (3, True), (6, False), (4, False), (4, True))


class AlexNet(nn.Module):
    """Five 3x3 convolutions, three of them with pooling, and a fully connected head: (B, C, H, W) to (B, classes).

    The widths of AlexNet (one-tower form, arXiv 1404.5997) with kernels and strides for small images. With `pretrain`
    the images pass `encoder` first; a frozen encoder has no gradients and stays in evaluation mode, also in training.
    """

    encoder: nn.Module  # nn.Identity without `pretrain`

    def __init__(
        self,
        width: int,
        dropout: float,
        head: HeadConfig,
        pretrain: PretrainConfig | None,
        classes: int,
        channels: int,
        image_size: int,
    ) -> None:
        super().__init__()
        self.encoder, side = nn.Identity(), image_size
        if pretrain:
            encoder = UNetEncoder(channels, encoder_width(width))
            self.encoder, channels, side = encoder, encoder.widths[-1], image_size // 2 ** (LEVELS - 1)
        self.frozen = bool(pretrain and pretrain.frozen)
        layers: list[nn.Module] = []
        for factor, halved in STAGES:
            layers.append(conv(channels, factor * width, norm="none"))  # (B, factor * width, side, side)
            channels = factor * width
            if halved and side > 1:  # after an encoder the map may be a single pixel already
                layers.append(nn.MaxPool2d(2))
                side //= 2
            layers.append(nn.ReLU(inplace=True))
        self.features = he_init(nn.Sequential(*layers))
        self.flatten = Flatten(side)
        self.dropout = nn.Dropout(dropout)
        self.head = he_init(Head(self.flatten.features(channels), classes, head))
        if self.frozen:
            self.encoder.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> AlexNet:
        """Switch to training mode, except a frozen encoder."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(self.encoder(x))  # (B, 4 * width, side, side)
        logits: Tensor = self.head(self.dropout(self.flatten(x)))  # (B, classes)
        return logits
