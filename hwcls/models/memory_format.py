"""Where a model's tensors are, of which dtype, and in which memory format."""

from __future__ import annotations

from itertools import chain
from typing import TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)


def to_channels_last(model: Model, device: torch.device | None = None, dtype: torch.dtype | None = None) -> Model:
    """Move a model in place, its 4-D weights and buffers to channels_last, and return it.

    nn.Module.to would fail for 5-D weights, such as nn.Conv3d's, and reduce complex buffers to their real part.

    Args:
        device: None: where it is.
        dtype: Of real floating point tensors; None: as they are.
    """
    model.to(device=device)
    for tensor in chain(model.parameters(), model.buffers()):
        wanted = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
        form = torch.channels_last if tensor.ndim == 4 else torch.preserve_format
        tensor.data = tensor.data.to(wanted, memory_format=form)
    return model
