"""What a model costs, and which models are one and the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from hwcls.config.model import ModelConfig
from hwcls.models import parameters, skeleton


@dataclass(frozen=True)
class Summary:
    """The size of a model, and what it is whatever its name."""

    parameters: int
    trainable: int  # of the parameters, those that learn
    flops: int  # of one image's forward pass; a multiplication and an addition are two
    signature: str


def summarise(config: ModelConfig, *, classes: int, channels: int, image_size: int) -> Summary:
    """Summarise the model that `config` describes without memory for it; raises UserError as `models.build` does."""
    model = skeleton(config, classes=classes, channels=channels, image_size=image_size)
    trainable = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return Summary(parameters(model), trainable, flops(model, channels, image_size), signature(model))


def flops(model: nn.Module, channels: int, image_size: int) -> int:
    """The floating point operations of one image's forward pass in evaluation mode, on the model's own device.

    Counted by torch.utils.flop_counter: convolutions, matrix products and attention, two per multiplication.
    """
    from torch.utils.flop_counter import FlopCounterMode

    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    training = model.training
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.eval()(torch.zeros(1, channels, image_size, image_size, device=device))  # (1, C, H, W)
    model.train(training)
    return int(counter.get_total_flops())


def signature(model: nn.Module) -> str:
    """16 hex digits that two models share if they are built alike, whatever they and their parts are called.

    Over all modules in order: depth, class, the settings its repr shows, shapes of its weights and buffers, and which
    weights learn. Values of weights have no part in it, so that a pretrained model and one from scratch are alike.
    """
    digest = hashlib.blake2b(digest_size=8)
    for depth, module in _walk(model, 0):
        kind = f"{type(module).__module__}.{type(module).__qualname__}"
        weights = [(tuple(weight.shape), weight.requires_grad) for weight in module.parameters(recurse=False)]
        buffers = [tuple(buffer.shape) for buffer in module.buffers(recurse=False)]
        digest.update(repr((depth, kind, module.extra_repr(), weights, buffers)).encode())
    return digest.hexdigest()


def _walk(module: nn.Module, depth: int) -> Iterator[tuple[int, nn.Module]]:
    """Every module with its depth in the tree, a shared one wherever it stands."""
    yield depth, module
    for child in module.children():
        yield from _walk(child, depth + 1)
