"""CBAM: channel attention and spatial attention (arXiv 1807.06521)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hwcls.models.layers import conv, norm_layer

LEAST_HIDDEN = 4  # units of the channel attention, however few the channels: a single one dies easily


class ChannelAttention(nn.Module):
    """Weighs each channel by its mean and its maximum over all positions: (B, C, H, W) to the same shape."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(LEAST_HIDDEN, channels // reduction)
        self.score = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.score(x.mean((2, 3))) + self.score(x.amax((2, 3)))  # (B, C)
        return x * scores.sigmoid()[:, :, None, None]


class SpatialAttention(nn.Module):
    """Weighs each position by the mean and the maximum of the channels around it: (B, C, H, W) to the same shape."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.score = nn.Sequential(conv(2, 1, kernel, norm="batch"), norm_layer(1, "batch"))

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), 1)  # (B, 2, H, W)
        scores: Tensor = self.score(maps)  # (B, 1, H, W)
        return x * scores.sigmoid()
