"""BatchNorm with several ranks: averaged running statistics, and groups of fixed size (`norm_batch`)."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from hwcls.errors import UserError
from hwcls.training.distributed import World
from hwcls.training.step.foreach import copy_into, increase

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm
COUNTING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)  # a SyncBatchNorm needs its counter


def average_statistics(model: nn.Module, world: World) -> None:
    """Average the running means and variances of the ranks, each of which has seen its own images."""
    if world.size == 1:
        return
    tensors = [
        tensor
        for module in model.modules()
        if isinstance(module, BatchNorm) and module.training  # frozen ones are identical on all ranks
        for tensor in _statistics(module)
    ]
    if tensors:
        average = world.sum(torch.cat(tensors)).div_(world.size)  # one all-reduce for all layers
        copy_into(tensors, torch.split(average, [len(tensor) for tensor in tensors]))


class PassCounter:
    """Adds a step's forward passes to each BatchNorm's `num_batches_tracked` in one launch, not one for each.

    Only where nothing reads it: of torch's and timm's own norms, with a momentum.
    """

    def __init__(self, model: nn.Module) -> None:
        self.norms = [module for module in model.modules() if isinstance(module, COUNTING) and _only_counts(module)]

    @contextlib.contextmanager
    def counted_at_once(self, passes: int) -> Iterator[None]:
        """Around the forward passes of a step."""
        norms = [norm for norm in self.norms if norm.training and norm.num_batches_tracked is not None]
        counters = [norm.num_batches_tracked for norm in norms]
        for norm in norms:
            norm.num_batches_tracked = None
        try:
            yield
        finally:
            for norm, counter in zip(norms, counters, strict=True):
                norm.num_batches_tracked = counter
        if counters:
            increase([counter for counter in counters if counter is not None], passes)


def _only_counts(norm: nn.Module) -> bool:
    return norm.momentum is not None and type(norm).__module__.split(".")[0] in ("torch", "timm", "hwcls")


class GroupedNorms:
    """Makes every BatchNorm of a model normalise groups of `size` images separately in training.

    This is "ghost batch normalisation" (arXiv 1705.08741). Micro-batches and the ranks' shares are complete groups
    (`GroupFeed`), so outputs, gradients and running statistics do not depend on them. The running statistics take a
    step's mean over all groups of all ranks: each rank adds its part, `average_statistics` adds the parts up.
    """

    def __init__(self, model: nn.Module, size: int, world: World) -> None:
        self.size, self.world = size, world
        self.norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
        self.images = 0  # in this forward pass
        self.momenta = [norm.momentum for norm in self.norms]
        self.groups = [0] * len(self.norms)  # so far in this step
        self.before: list[list[Tensor]] = []  # running mean and variance
        for place, norm in enumerate(self.norms):
            norm.forward = self._grouped(place, norm, norm.forward)  # type: ignore[method-assign]
        model.register_forward_pre_hook(self._count)

    def _count(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.images = len(inputs[0])

    def _grouped(self, place: int, norm: BatchNorm, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        first = next(iter(inspect.signature(forward).parameters))  # what a model may call its input

        def grouped(*inputs: Any, **named: Any) -> Tensor:
            if not norm.training:
                return forward(*inputs, **named)
            x, *more = inputs or (named.pop(first),)
            parts, rows = [], len(x) * self.size // self.images  # more than `size` where images become tokens
            if rows * self.images != len(x) * self.size:
                what = f"a BatchNorm sees {len(x)} rows of {self.images} images: no groups of {self.size}"
                raise UserError(what, where="norm_batch", remedy="remove norm_batch, or use another model")
            for group in torch.split(x, rows):
                self.groups[place] += 1
                norm.momentum = 1 / self.groups[place]  # the running statistics are the mean of the step's so far
                parts.append(forward(group, *more, **named))
            return torch.cat(parts)  # (B, C, ...)

        return grouped

    def before_step(self) -> None:
        """Save the running statistics; the step's own are gathered in their place."""
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


def _statistics(norm: BatchNorm) -> list[Tensor]:
    """The running mean and variance, if the norm has them."""
    return [tensor for tensor in (norm.running_mean, norm.running_var) if tensor is not None]
