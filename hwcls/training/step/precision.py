"""bfloat16, where the GPU has it: for every pass but the last layer's, in training and in every evaluation alike."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Precision:
    """How the forward passes of a model are computed, in training, evaluation and prediction alike."""

    bf16: bool = False  # of activations; weights, logits, loss and optimizer keep their dtype
    device: str = "cuda"  # the kind of it

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Around every forward pass; without autocast's cache of cast weights, which a captured step must not share."""
        if not self.bf16:
            return contextlib.nullcontext()
        return torch.autocast(self.device, torch.bfloat16, cache_enabled=False)

    def adapt(self, model: nn.Module, classes: int) -> None:
        """Let the linear layers with an output for each class, one of which makes the logits, ignore autocast.

        In bfloat16, with 8 bits of mantissa, the two highest logits of many images are equal. The order of the layers
        in the model does not say which of them runs last.
        """
        if not self.bf16:
            return
        linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
        for layer in linear:
            kind = type(layer)
            if layer.out_features == classes and not issubclass(kind, _IgnoresAutocast):
                layer.__class__ = type(kind.__name__, (_IgnoresAutocast, kind), {})


def restore_classes(model: nn.Module) -> None:
    """Undo `Precision.adapt`, whose classes no other program has and pickle does not find."""
    for layer in model.modules():
        if isinstance(layer, _IgnoresAutocast):
            layer.__class__ = type(layer).__bases__[1]


class _IgnoresAutocast(nn.Module):
    """Mixed into a layer's class: computes in the dtype of its weights."""

    def forward(self, *inputs: Any, **named: Any) -> Any:
        weight = cast(Tensor, self.weight)
        if not torch.is_autocast_enabled(weight.device.type):
            return super().forward(*inputs, **named)

        def convert(value: Any) -> Any:
            return value.to(weight.dtype) if isinstance(value, Tensor) and value.is_floating_point() else value

        with torch.autocast(weight.device.type, enabled=False):
            return super().forward(*map(convert, inputs), **{name: convert(value) for name, value in named.items()})


def choose_precision(device: torch.device, dtype: torch.dtype, on_features: bool = False) -> Precision:
    """The precision of a model with weights of `dtype` on a device.

    On a CPU bfloat16 does not pay, nor for a head that is trained on cached features (`on_features`), which are more
    precise: its whole model runs in float32.
    """
    if device.type != "cuda" or dtype != torch.float32 or on_features:
        return Precision()
    return Precision(torch.cuda.is_bf16_supported(including_emulation=False))


def upcast(logits: torch.Tensor) -> torch.Tensor:
    """Logits (B, K) for the loss: bfloat16, of a model that does not end with a linear layer, becomes float32."""
    return logits.float() if logits.dtype == torch.bfloat16 else logits
