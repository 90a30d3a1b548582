"""bfloat16, where the GPU has it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Precision:
    """How the forward passes of a trial are computed."""

    bf16: bool = False  # of activations; weights, loss and optimizer keep their dtype

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Around every forward pass; without autocast's cache of cast weights, which a captured step must not share."""
        return torch.autocast("cuda", torch.bfloat16, cache_enabled=False) if self.bf16 else contextlib.nullcontext()


def choose_precision(device: torch.device, dtype: torch.dtype) -> Precision:
    """The precision of a trial; on a CPU bfloat16 does not pay."""
    if device.type != "cuda" or dtype != torch.float32:
        return Precision()
    return Precision(torch.cuda.is_bf16_supported(including_emulation=False))


def upcast(logits: torch.Tensor) -> torch.Tensor:
    """Logits (B, K) for the loss: bfloat16 becomes float32."""
    return logits.float() if logits.dtype == torch.bfloat16 else logits
