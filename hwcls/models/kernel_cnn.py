"""The convolutional net whose kernels vary in size while its number of parameters stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from hwcls.config.model import KernelCnnConfig, Norm
from hwcls.errors import UserError
from hwcls.models.layers import conv, halving_net, he_init, norm_layer
from hwcls.models.skip_init import undrawn

TOLERANCE = 0.02  # of `params`
LEAST, MOST = 2, 1024  # channels of the first block


class MixedConv(nn.Module):
    """1x1 and 3x3 kernels side by side: (B, in, H, W) to (B, out, H, W), the first half of the channels from 1x1."""

    def __init__(self, channels_in: int, channels_out: int, norm: Norm) -> None:
        super().__init__()
        self.one = conv(channels_in, channels_out // 2, 1, norm=norm)
        self.three = conv(channels_in, channels_out - channels_out // 2, 3, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.one(x), self.three(x)), 1)  # (B, out, H, W)


def build(config: KernelCnnConfig, *, classes: int, channels: int, image_size: int) -> nn.Module:
    """`depth` blocks of convolution, pooling, norm, ReLU that each halve the image, then the head on all positions.

    The width doubles per block; with `params` the widths are those that come nearest to it. Maps
    (B, channels, image_size, image_size) to (B, classes). Raises UserError where the image cannot be halved `depth`
    times, or no widths give `params` within 2 %.
    """

    def block(channels_in: int, channels_out: int) -> list[nn.Module]:
        mixed = config.kernel == "mixed"
        first = (
            MixedConv(channels_in, channels_out, config.norm)
            if mixed
            else conv(channels_in, channels_out, int(config.kernel), norm=config.norm)
        )
        return [first, nn.MaxPool2d(2), norm_layer(channels_out, config.norm), nn.ReLU(inplace=True)]

    def net(widths: list[int] | None) -> nn.Module:
        return halving_net(block, config, widths, classes=classes, channels=channels, image_size=image_size)

    def count(widths: list[int]) -> int:
        with undrawn():
            return sum(weight.numel() for weight in net(widths).parameters())

    model = net(None if config.params is None else solve(count, config.depth, config.params))
    return he_init(model) if config.norm == "none" else model


def solve(count: Callable[[list[int]], int], depth: int, params: int) -> list[int]:
    """The widths of `depth` blocks for which `count` comes nearest to `params`.

    Each doubles the one before but the last, which takes up the rest: with all of them doubled a step of the first
    would be several per cent. Raises UserError, which names the nearest numbers, where none is within 2 %.
    """
    doubled = _widest(count, depth, params)
    found: dict[int, list[int]] = {}
    # of a small net a channel of the last is several per cent too: other first widths give the numbers between
    for firsts in ((doubled, doubled + 1), range(max(LEAST, doubled - 4), doubled + 5)):
        found |= {count(widths): widths for first in firsts for widths in _candidates(count, first, depth, params)}
        best = min(found, key=lambda reached: abs(reached - params))
        if abs(best - params) <= TOLERANCE * params:
            return found[best]
    near = [max((n for n in found if n < params), default=None), min((n for n in found if n > params), default=None)]
    numbers = " and ".join(f"{number:,}" for number in near if number is not None)
    raise UserError(
        f"no widths give {params:,} parameters within {TOLERANCE:.0%}",
        where="model.params",
        remedy=f"the nearest that can be had: {numbers}",
    )


def _doubled(first: int, depth: int) -> list[int]:
    return [first * 2**number for number in range(depth)]


def _widest(count: Callable[[list[int]], int], depth: int, params: int) -> int:
    """The first width with which doubled ones stay below `params`, if any does."""
    low, high = LEAST, MOST
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(_doubled(middle, depth)) <= params else (low, middle - 1)
    return low


def _candidates(count: Callable[[list[int]], int], first: int, depth: int, params: int) -> Iterator[list[int]]:
    """Doubled widths from `first` on whose last brings them near `params`."""
    *before, last = _doubled(min(first, MOST), depth)
    here = count([*before, last])
    slope = (count([*before, last + 2]) - here) / 2  # two channels: MixedConv splits them
    guess = round(last + (params - here) / slope)
    yield from ([*before, min(max(LEAST, guess + step), 2 * last)] for step in (-1, 0, 1))
