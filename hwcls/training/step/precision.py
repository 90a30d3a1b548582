"""bfloat16 and torch.compile: chosen by the hardware and a trial's total steps, not by the remaining ones."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hwcls.models.summary import compute_signature

COMPILE_STEPS = 20_000  # an estimate: a minute of compiling, a quarter saved of steps of 10 ms
BACKEND = "inductor"
GRAPHS = 8  # for one function; torch runs the ninth uncompiled
_compiled: str | None = None  # signature of the model whose graphs are cached in this process
_sizes: set[int] = set()  # micro-batch sizes of those graphs


@dataclass(frozen=True)
class Precision:
    """How the forward and backward passes of a trial are computed."""

    bf16: bool = False  # of activations; weights, loss and optimizer keep their dtype
    compiled: bool = False

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Around every forward pass."""
        return torch.autocast("cuda", torch.bfloat16) if self.bf16 else contextlib.nullcontext()

    def prepare(self, model: nn.Module, ddp: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        """The forward pass of `ddp` (the model, maybe within DDP) for micro-batches of one size, compiled if chosen.

        A process caches the graphs of one model, for up to GRAPHS sizes; trials with the same model reuse them.
        """
        global _compiled
        if not self.compiled:
            return ddp
        if _compiled not in (None, compute_signature(model)):
            _reset_graphs()
        _compiled = compute_signature(model)
        compiled: Callable[[torch.Tensor], torch.Tensor] = torch.compile(ddp, dynamic=False, backend=BACKEND)

        def forward(images: torch.Tensor) -> torch.Tensor:
            if len(images) not in _sizes and len(_sizes) == GRAPHS:
                _reset_graphs()
            _sizes.add(len(images))
            return compiled(images)

        return forward


def _reset_graphs() -> None:
    torch.compiler.reset()
    _sizes.clear()


def choose_precision(device: torch.device, dtype: torch.dtype, steps: int, *, grouped: bool = False) -> Precision:
    """The precision of a trial of `steps` optimizer steps in total; on a CPU neither bfloat16 nor compiling pays.

    `grouped`: BatchNorm works on groups, which are not compiled.
    """
    if device.type != "cuda" or dtype != torch.float32:
        return Precision()
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    triton = torch.cuda.get_device_capability(device) >= (7, 0)
    return Precision(bf16, triton and not grouped and steps >= COMPILE_STEPS)


def upcast(logits: torch.Tensor) -> torch.Tensor:
    """Logits (B, K) for the loss: bfloat16 becomes float32."""
    return logits.float() if logits.dtype == torch.bfloat16 else logits
