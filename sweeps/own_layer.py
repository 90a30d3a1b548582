"""A user-defined model for a sweep: `model: {name: sweeps/own_layer.py:build, width: 32}`."""

import torch
from torch import Tensor, nn


class Maxout(nn.Module):
    """The larger of two convolutions at each place (arXiv 1302.4389): (B, C, H, W) to (B, width, H, W)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.both = nn.Conv2d(channels, 2 * width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.both(x).chunk(2, dim=1)
        return torch.maximum(first, second)


def build(*, classes: int, channels: int, image_size: int, width: int = 32) -> nn.Module:
    """Two blocks of Maxout and pooling, then a linear classifier: (B, channels, S, S) to (B, classes)."""
    side = image_size // 4
    return nn.Sequential(
        *(Maxout(channels, width), nn.MaxPool2d(2), nn.BatchNorm2d(width)),
        *(Maxout(width, 2 * width), nn.MaxPool2d(2), nn.BatchNorm2d(2 * width)),
        *(nn.Flatten(), nn.Linear(2 * width * side * side, classes)),
    )
