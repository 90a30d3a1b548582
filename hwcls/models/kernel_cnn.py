"""The convolutional net whose kernels vary in size while its number of parameters stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from hwcls.config.model import MODELS, HeadConfig, ModelFamily, Norm
from hwcls.errors import UserError

if TYPE_CHECKING:
    from torch import nn

TOLERANCE = 0.02  # of `params`
LEAST, MOST = 2, 1024  # channels of the first block


@MODELS.register("kernel_cnn")
class KernelCnnConfig(ModelFamily):
    """simple_cnn with kernels of another size: to compare sizes at the same number of parameters, set `params`."""

    name: Literal["kernel_cnn"] = "kernel_cnn"
    kernel: Literal[3, 5, 7, "mixed"] = Field(
        3, description="Kernel of the convolutions; mixed: half of the channels 1x1, half 3x3."
    )
    width: int = Field(
        32,
        ge=2,
        le=1024,
        description="Channels of the first block; later ones double them.",
        examples=[{"values": [16, 32]}],
    )
    params: int | None = Field(
        None,
        ge=1,
        description="Parameters of the complete model, within 2 %, instead of `width`: the widths are solved for.",
        examples=[50000],
    )
    depth: int = Field(2, ge=1, le=4, description="Convolution blocks.", examples=[{"min": 1, "max": 3}])
    norm: Norm = Field("batch", description="Normalisation after each convolution.")
    head: HeadConfig = Field(HeadConfig(), description="The fully connected layers on top.")

    @model_validator(mode="after")
    def _one_size(self) -> KernelCnnConfig:
        if self.params is not None and self.width != type(self).model_fields["width"].default:
            raise ValueError("params cannot be combined with width — remove one of them: params solves for the widths")
        return self

    def build(self, *, classes: int, channels: int, image_size: int) -> nn.Module:
        """`depth` blocks of convolution, pooling, norm, ReLU that each halve the image, then the head on all positions.

        The width doubles per block; with `params` the widths are those that come nearest to it. Raises UserError where
        the image cannot be halved `depth` times, or no widths give `params` within 2 %.
        """
        from hwcls.models import count_parameters
        from hwcls.models.layers import halving_net, he_init, kernel_block
        from hwcls.models.skip_init import skip_init

        def block(channels_in: int, channels_out: int) -> list[nn.Module]:
            return kernel_block(channels_in, channels_out, self.kernel, self.norm)

        def net(widths: list[int] | None) -> nn.Module:
            return halving_net(block, self, widths, classes=classes, channels=channels, image_size=image_size)

        def count(widths: list[int]) -> int:
            with skip_init():
                return count_parameters(net(widths))

        model = net(None if self.params is None else solve_widths(count, self.depth, self.params))
        return he_init(model) if self.norm == "none" else model

    def decided(self, model: nn.Sequential) -> dict[str, Any]:
        from torch import nn

        convs = ([inner for inner in child.modules() if isinstance(inner, nn.Conv2d)] for child in model)
        widths = [sum(conv.out_channels for conv in found) for found in convs if found]
        return {} if self.params is None else {"widths": widths}


def solve_widths(count: Callable[[list[int]], int], depth: int, params: int) -> list[int]:
    """The widths of `depth` blocks whose `count` is nearest to `params`.

    Each doubles the one before, except the last, which is free: with all of them doubled one more channel in the first
    block would change the count by several per cent. Raises UserError with the nearest counts where none is within 2 %.
    """
    doubled = _widest(count, depth, params)
    found: dict[int, list[int]] = {}
    # in a small net a channel of the last block is several per cent too: try other first widths
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
        remedy=f"the nearest possible: {numbers}",
    )


def _doubled(first: int, depth: int) -> list[int]:
    return [first * 2**number for number in range(depth)]


def _widest(count: Callable[[list[int]], int], depth: int, params: int) -> int:
    """The largest first width with which doubled widths stay below `params`, else LEAST."""
    low, high = LEAST, MOST
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(_doubled(middle, depth)) <= params else (low, middle - 1)
    return low


def _candidates(count: Callable[[list[int]], int], first: int, depth: int, params: int) -> Iterator[list[int]]:
    """Doubled widths from `first` on, the last one chosen so that the count is near `params`."""
    *before, last = _doubled(min(first, MOST), depth)
    here = count([*before, last])
    slope = (count([*before, last + 2]) - here) / 2  # two channels: MixedConv splits them
    guess = round(last + (params - here) / slope)
    yield from ([*before, min(max(LEAST, guess + step), 2 * last)] for step in (-1, 0, 1))
