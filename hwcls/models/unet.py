"""A U-Net autoencoder, whose encoder is pretrained to reconstruct images and then feeds another model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from hwcls.models.layers import conv, norm_layer

LEVELS = 3  # resolutions of the encoder; each but the first halves the image and doubles the width
SKIP_KEPT = 0.5  # in training, the share of images that keep their skip connections


def _double_conv(channels_in: int, channels_out: int) -> nn.Sequential:
    """Twice 3x3 convolution, norm, ReLU: (B, in, H, W) to (B, out, H, W)."""
    layers: list[nn.Module] = []
    for source in (channels_in, channels_out):
        layers += [conv(source, channels_out, norm="batch"), norm_layer(channels_out, "batch"), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class UNetEncoder(nn.Module):
    """The contracting path: (B, channels, H, W) to (B, width * 4, H // 4, W // 4)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS)]
        self.blocks = nn.ModuleList(map(_double_conv, [channels, *widths], widths))
        self.pool = nn.MaxPool2d(2)
        self.widths = widths

    def levels(self, x: Tensor) -> list[Tensor]:
        """The feature map of every level, the finest first."""
        maps: list[Tensor] = []
        for level, block in enumerate(self.blocks):
            maps.append(block(self.pool(maps[-1]) if level else x))  # (B, width * 2**level, H / 2**level, ...)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        return self.levels(x)[-1]


class UNetAutoencoder(nn.Module):
    """Reconstructs images through `encoder` and a decoder with skip connections (U-Net, arXiv 1505.04597).

    Maps (B, channels, H, W) to the same shape, H and W of at least 4. The finest skip alone could carry the complete
    image and leave the deep levels untrained; so in training half of the images, at random, lose all their skips.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.encoder = UNetEncoder(channels, width)
        finer = self.encoder.widths[-2::-1]
        coarser = self.encoder.widths[:0:-1]
        self.up = nn.ModuleList(conv(a, b, 1, norm="none") for a, b in zip(coarser, finer, strict=True))
        self.blocks = nn.ModuleList(_double_conv(2 * b, b) for b in finer)
        self.out = conv(width, channels, 1, norm="none")

    def forward(self, x: Tensor) -> Tensor:
        *skips, y = self.encoder.levels(x)
        if self.training:
            kept = (torch.rand(len(x), 1, 1, 1, device=x.device) < SKIP_KEPT).to(y.dtype)  # (B, 1, 1, 1)
            skips = [skip * kept for skip in skips]
        for up, block, skip in zip(self.up, self.blocks, reversed(skips), strict=True):
            y = interpolate(up(y), size=skip.shape[-2:])  # (B, width, H, W) of the skip
            y = block(torch.cat((y, skip), 1))
        image: Tensor = self.out(y)  # (B, channels, H, W)
        return image


def encoder_width(width: int) -> int:
    """The channels of the encoder's first level: half of AlexNet's `width`, since it works at the full resolution."""
    return width // 2
