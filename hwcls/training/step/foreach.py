"""Operations on lists of tensors in one launch: torch's private `_foreach` functions, checked up to torch TESTED."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

TESTED = (2, 15)


def copy_into(targets: list[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy each source into its target."""
    torch._foreach_copy_(targets, list(sources))


def move_towards(targets: list[Tensor], goals: list[Tensor], share: float) -> None:
    """target += share * (goal - target)."""
    torch._foreach_lerp_(targets, goals, share)


def norms(tensors: list[Tensor], order: float) -> Tensor:
    """(len(tensors),): the norm of each."""
    return torch.stack(torch._foreach_norm(tensors, order))
