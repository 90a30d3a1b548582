"""BatchNorm under data parallelism: its running statistics over ranks, and virtual groups (`norm_batch`)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hwcls.errors import UserError
from hwcls.training.distributed import World


def average_statistics(model: nn.Module, world: World) -> None:
    """Each rank saw its own images: the ranks' running means and variances become their average."""
    if world.size == 1:
        return
    tensors = [
        tensor
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.training  # frozen ones are the same everywhere, to the bit
        for tensor in _statistics(module)
    ]
    if tensors:
        whole = world.sum(torch.cat(tensors)).div_(world.size)  # one all-reduce for all layers
        torch._foreach_copy_(tensors, list(torch.split(whole, [len(tensor) for tensor in tensors])))


class GroupedNorms:
    """Lets every BatchNorm of a model, in training, normalise groups of `size` images on their own.

    Micro-batches and the ranks' shares being whole groups (`GroupFeed`), outputs, gradients and running statistics
    depend on neither ("ghost batch normalisation", arXiv 1705.08741). Of a step the running statistics take the mean
    over all groups of all ranks: each rank adds its part, and `average_statistics` makes that the whole.
    """

    def __init__(self, model: nn.Module, size: int, world: World) -> None:
        self.size, self.world = size, world
        self.norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        self.images = 0  # in this forward pass
        self.momenta = [norm.momentum for norm in self.norms]
        self.groups = [0] * len(self.norms)  # seen in this step
        self.before: list[list[Tensor]] = []  # running mean and variance
        for place, norm in enumerate(self.norms):
            norm.forward = self._grouped(place, norm, norm.forward)  # type: ignore[method-assign,assignment]
        model.register_forward_pre_hook(self._count)

    def _count(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.images = len(inputs[0])

    def _grouped(self, place: int, norm: _BatchNorm, forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def grouped(x: Tensor) -> Tensor:
            if not norm.training:
                return forward(x)
            parts, rows = [], len(x) * self.size // self.images  # more than `size` where images become tokens
            if rows * self.images != len(x) * self.size:
                what = f"a BatchNorm sees {len(x)} rows of {self.images} images, which make no groups of {self.size}"
                raise UserError(what, where="norm_batch", remedy="leave it out, or use another model")
            for group in torch.split(x, rows):
                self.groups[place] += 1
                norm.momentum = 1 / self.groups[place]  # the running statistics are the mean of the step's so far
                parts.append(forward(group))
            return torch.cat(parts)  # (B, C, ...)

        return grouped

    def before_step(self) -> None:
        """Keep the running statistics while the step's own are gathered in their place."""
        self.groups = [0] * len(self.norms)
        self.before = [[tensor.clone() for tensor in _statistics(norm)] for norm in self.norms]

    @torch.no_grad()
    def after_step(self, images: int) -> None:
        """Move the running statistics towards those of a step of `images` over all ranks."""
        total = images / self.size
        for norm, momentum, groups, before in zip(self.norms, self.momenta, self.groups, self.before, strict=True):
            if not norm.training:  # frozen
                continue
            rate = 0.1 if momentum is None else momentum
            part = rate * groups * self.world.size / total
            for now, old in zip(_statistics(norm), before, strict=True):
                now.mul_(part).add_(old, alpha=1 - rate)


def _statistics(norm: _BatchNorm) -> list[Tensor]:
    """The running mean and variance, where the norm keeps them."""
    return [tensor for tensor in (norm.running_mean, norm.running_var) if tensor is not None]
