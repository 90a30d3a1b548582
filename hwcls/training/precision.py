"""bfloat16 and torch.compile: chosen by the hardware and the whole work of a trial, never by what is left of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hwcls.models.summary import signature

COMPILE_STEPS = 20_000  # an estimate: a minute of compiling against a quarter of a step of 10 ms
BACKEND = "inductor"
GRAPHS = 8  # for one function; torch runs the ninth uncompiled
_compiled: str | None = None  # the signature of the model whose graphs this process holds
_sizes: set[int] = set()  # of the micro-batches that those graphs are for


@dataclass(frozen=True)
class Precision:
    """How the passes of a trial are computed."""

    bf16: bool = False  # activations; weights, loss and optimizer stay as they are
    compiled: bool = False

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Around every forward pass."""
        return torch.autocast("cuda", torch.bfloat16) if self.bf16 else contextlib.nullcontext()

    def prepare(self, model: nn.Module, ranked: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        """`ranked` (the model, maybe within DDP) for micro-batches of one size: compiled where that pays.

        A process keeps the graphs of one model, for up to GRAPHS sizes: trials that differ in anything else reuse them.
        """
        global _compiled
        if not self.compiled:
            return ranked
        if _compiled not in (None, signature(model)):
            _forget_graphs()
        _compiled = signature(model)
        compiled: Callable[[torch.Tensor], torch.Tensor] = torch.compile(ranked, dynamic=False, backend=BACKEND)

        def forward(images: torch.Tensor) -> torch.Tensor:
            if len(images) not in _sizes and len(_sizes) == GRAPHS:
                _forget_graphs()
            _sizes.add(len(images))
            return compiled(images)

        return forward


def _forget_graphs() -> None:
    torch.compiler.reset()
    _sizes.clear()


def choose_precision(device: torch.device, dtype: torch.dtype, steps: int, *, grouped: bool = False) -> Precision:
    """What suits a trial of `steps` optimizer steps in all; on a CPU both would cost more than they gain.

    `grouped`: BatchNorm works on virtual groups, which are not compiled.
    """
    if device.type != "cuda" or dtype != torch.float32:
        return Precision()
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    triton = torch.cuda.get_device_capability(device) >= (7, 0)
    return Precision(bf16, triton and not grouped and steps >= COMPILE_STEPS)


def upcast(logits: torch.Tensor) -> torch.Tensor:
    """Logits (B, K) for the loss: bfloat16 becomes float32."""
    return logits.float() if logits.dtype == torch.bfloat16 else logits
