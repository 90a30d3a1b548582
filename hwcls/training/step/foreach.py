"""Operations on lists of tensors in one launch: torch's private `_foreach` functions, checked up to torch TESTED."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

TESTED = (2, 15)


def copy_into(targets: list[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy each source into its target."""
    torch._foreach_copy_(targets, list(sources))


def move_towards(targets: list[Tensor], goals: list[Tensor], share: Tensor) -> None:
    """target += share * (goal - target), with `share` () read from their device."""
    ways = torch._foreach_sub(goals, targets)  # torch has no lerp for lists whose weight is on the device
    torch._foreach_mul_(ways, share)
    torch._foreach_add_(targets, ways)


def increase(counters: list[Tensor], by: int) -> None:
    """Add a number to each."""
    torch._foreach_add_(counters, by)


def norms(tensors: list[Tensor], order: float) -> Tensor:
    """(len(tensors),): the norm of each."""
    return torch.stack(torch._foreach_norm(tensors, order))
