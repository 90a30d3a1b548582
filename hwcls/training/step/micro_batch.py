"""Micro-batches: a batch that does not fit into memory is split, so that the search's batch size is kept."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hwcls.errors import UserError
from hwcls.training.distributed import World
from hwcls.training.memory import free_memory, is_out_of_memory

PROBED = ("cuda",)  # kinds of device whose memory is tried; a CPU swaps to disk before it runs out

Attempt = Callable[[int], None]


def halve_micro_batch(size: int, unit: int = 1) -> int:
    """The next smaller micro-batch: half of `size`, rounded up to a multiple of `unit`.

    Raises:
        UserError: `size` is the smallest possible.
    """
    if size <= unit:
        what = "a single image" if unit == 1 else f"a single group of {unit} images"
        remedy = "use a smaller model" if unit == 1 else "use a smaller model or norm_batch"
        raise UserError(f"the model does not fit into memory with {what}", remedy=remedy)
    return -(-size // (2 * unit)) * unit


def fit_micro_batch(start: int, attempt: Attempt, world: World, unit: int = 1) -> int:
    """The largest of start, start/2, start/4, ... images per rank for which `attempt` fits into memory on every rank.

    Halving gives the same few sizes throughout a sweep over batch sizes; all are multiples of `unit`.

    Raises:
        UserError: Not even a single image (or `unit` of them) fits.
    """
    size = max(unit, start)
    # once more after what earlier trials left has been freed: the size must not depend on them
    while not (_fits(attempt, size, world) or _fits(attempt, size, world)):
        size = halve_micro_batch(size, unit)
    if world.device.type == "cuda":  # the peak of a step does not include the attempts
        torch.cuda.reset_peak_memory_stats(world.device)
    return size


def _fits(attempt: Attempt, size: int, world: World) -> bool:
    """Whether `attempt` succeeds on every rank; frees memory where it does not."""
    failed = False
    try:
        attempt(size)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        failed = True  # freed below, outside the handler, which would keep the tensors alive
    if failed := world.any(failed):
        free_memory()
    return not failed


def memory_attempt(
    model: nn.Module, shape: tuple[int, ...], copies: int, forward: Callable[[Tensor], Tensor]
) -> Attempt:
    """An attempt for `fit_micro_batch`: forward and backward of images of `shape`, (C, H, W), or (F,) of features.

    On this rank alone. Meanwhile `copies` of the weights are allocated, as much as the optimizer and DDP will take
    later.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]

    def attempt(size: int) -> None:
        like = next(model.parameters())
        reserved = [torch.empty_like(weight) for _ in range(copies) for weight in weights]
        images = torch.zeros(size, *shape, device=like.device, dtype=like.dtype)  # (B, *shape)
        if images.ndim == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        try:
            forward(images).sum().backward()  # type: ignore[no-untyped-call]
        finally:
            reserved.clear()
            model.zero_grad(set_to_none=True)

    return attempt
