"""Layers that several families share: the head, convolutions with norm, size checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, relu

from hwcls.config.model import Activation, HeadConfig, Norm
from hwcls.errors import UserError

HEAD_SIDE = 8  # a flattened feature map is at most this high and wide
_ACTIVATIONS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


class Standardise(nn.BatchNorm1d):
    """Each feature with mean 0 and variance 1 over the batch, by the running statistics in evaluation: (B, F).

    A batch of one image, such as the rest of an epoch, has no variance: it is standardised as in evaluation.
    """

    def __init__(self, features: int) -> None:
        super().__init__(features, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) == 1:
            return batch_norm(x, self.running_mean, self.running_var, eps=self.eps)
        return super().forward(x)


class Head(nn.Sequential):
    """`config.depth` fully connected layers from features to logits.

    Maps (B, in_features) to (B, classes), standardised first with `norm="batch"`. All layers but the last are
    `config.width` wide, each followed by the activation and dropout; a depth of 1 is a linear classifier.
    """

    def __init__(self, in_features: int, classes: int, config: HeadConfig) -> None:
        layers: list[nn.Module] = [Standardise(in_features)] if config.norm == "batch" else []
        for _ in range(config.depth - 1):
            layers += [nn.Linear(in_features, config.width), _ACTIVATIONS[config.activation]()]  # (B, width)
            if config.dropout:
                layers.append(nn.Dropout(config.dropout))
            in_features = config.width
        layers.append(nn.Linear(in_features, classes))  # (B, classes)
        super().__init__(*layers)


class Flatten(nn.Module):
    """A feature map as one vector, averaged first to at most 8x8 positions so that the head stays small.

    Maps (B, C, side, side) to (B, C * p * p) with p <= 8; `self.features(C)` is the length.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        factor = math.ceil(side / HEAD_SIDE)
        self.positions = math.ceil(side / factor) ** 2
        self.pool = nn.AvgPool2d(factor, ceil_mode=True) if factor > 1 else nn.Identity()

    def features(self, channels: int) -> int:
        """The length of the vector for a map of `channels` channels."""
        return channels * self.positions

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.pool(x)  # (B, C, p, p)
        return pooled.flatten(1)  # (B, C * p * p)


class GlobalAverage(nn.Module):
    """The mean over all positions: (B, C, H, W) to (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def conv(channels_in: int, channels_out: int, kernel: int = 3, *, stride: int = 1, norm: Norm) -> nn.Conv2d:
    """A convolution with padding `kernel // 2`, without a bias where a norm follows that has its own."""
    return nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=norm == "none")


def norm_layer(channels: int, norm: Norm) -> nn.Module:
    """BatchNorm or nothing, for (B, channels, H, W)."""
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.Identity()


def pooled_block(channels_in: int, channels_out: int, norm: Norm) -> list[nn.Module]:
    """3x3 convolution, 2x2 max pooling, norm, ReLU: (B, in, H, W) to (B, out, H // 2, W // 2).

    Pooling comes first because norm and activation then see a quarter of the values: 1.6 times as fast on a CPU
    as convolution, norm, activation, pooling.
    """
    layers = [conv(channels_in, channels_out, norm=norm), nn.MaxPool2d(2)]
    return [*layers, norm_layer(channels_out, norm), nn.ReLU(inplace=True)]


def gated_block(channels_in: int, channels_out: int, norm: Norm) -> list[nn.Module]:
    """3x3 convolution, 2x2 max pooling, norm, gate: (B, in, H, W) to (B, out, H // 2, W // 2).

    The convolution makes values and gates, and each value is multiplied with the sigmoid of its gate:
    (X * W + b) x sigmoid(X * V + c), arXiv 1612.08083, equation 1. Pooling comes first as in `pooled_block`.
    """
    both = 2 * channels_out
    layers = [conv(channels_in, both, norm=norm), nn.MaxPool2d(2), norm_layer(both, norm)]  # (B, 2 * out, H / 2, W / 2)
    return [*layers, nn.GLU(1)]  # (B, out, H / 2, W / 2)


class MixedConv(nn.Module):
    """1x1 and 3x3 kernels side by side: (B, in, H, W) to (B, out, H, W), the first half of the channels from 1x1."""

    def __init__(self, channels_in: int, channels_out: int, norm: Norm) -> None:
        super().__init__()
        self.one = conv(channels_in, channels_out // 2, 1, norm=norm)
        self.three = conv(channels_in, channels_out - channels_out // 2, 3, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.one(x), self.three(x)), 1)  # (B, out, H, W)


def kernel_block(channels_in: int, channels_out: int, kernel: Literal[3, 5, 7, "mixed"], norm: Norm) -> list[nn.Module]:
    """`pooled_block` with kernels of any size: (B, in, H, W) to (B, out, H // 2, W // 2)."""
    mixed = kernel == "mixed"
    first = (
        MixedConv(channels_in, channels_out, norm) if mixed else conv(channels_in, channels_out, int(kernel), norm=norm)
    )
    return [first, nn.MaxPool2d(2), norm_layer(channels_out, norm), nn.ReLU(inplace=True)]


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
            self.shortcut = nn.Sequential(conv(channels_in, channels_out, 1, norm=norm), norm_layer(channels_out, norm))
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y = relu(self.norm1(self.conv1(x)))  # (B, out, H / stride, W / stride)
        y = self.norm2(self.conv2(y))
        # as a 1x1 convolution with a stride, which crashes on CPUs (oneDNN 3.13, up to 8 channels, from 64 pixels)
        return relu(y + self.shortcut(x[:, :, :: self.stride, :: self.stride]))


class Halving(Protocol):
    """The settings that `halving_net` needs."""

    @property
    def name(self) -> str: ...
    @property
    def depth(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def head(self) -> HeadConfig: ...


def halving_net(
    block: Callable[[int, int], Sequence[nn.Module]],
    config: Halving,
    widths: Sequence[int] | None = None,
    *,
    classes: int,
    channels: int,
    image_size: int,
) -> nn.Sequential:
    """`config.depth` times a `block(channels_in, channels_out)` that halves the image, then the head on all positions.

    Each block has one of `widths` channels, by default `config.width`, doubled each time. Maps
    (B, channels, image_size, image_size) to (B, classes). Raises UserError where the image cannot be halved so often.
    """
    depth = config.depth
    require_image_size(
        image_size,
        2**depth,
        f"{config.name} with depth {depth}",
        f"set data.image_size to {2**depth} or more, or a lower model.depth",
    )
    layers: list[nn.Module] = []
    for width in widths or [config.width * 2**number for number in range(depth)]:
        layers += block(channels, width)  # (B, width, side // 2, side // 2)
        channels = width
    flatten = Flatten(image_size // 2**depth)
    return nn.Sequential(*layers, flatten, Head(flatten.features(channels), classes, config.head))


def he_init(model: nn.Module) -> nn.Module:
    """Draw the weights of `model` again so that ReLU layers without a norm keep the signal's scale, and return it.

    He initialisation (arXiv 1502.01852), biases zero: torch's default shrinks it by three per layer, which costs
    AlexNet a third of its accuracy on digits after four epochs. With BatchNorm it gains nothing and is not used.
    """
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model


def require_image_size(image_size: int, least: int, what: str, remedy: str = "") -> None:
    """Raise UserError where images of `image_size` pixels are smaller than `least`, the minimum of `what`."""
    if image_size < least:
        text = f"images of {image_size}x{image_size} are too small for {what}, which needs {least}x{least}"
        raise UserError(text, where="model", remedy=remedy or f"set data.image_size to {least} or more")
