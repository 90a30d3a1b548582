"""Models: one registry of families, built from their configs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from hwcls.config.model import ModelConfig, TimmConfig, UserModelConfig
from hwcls.errors import UserError
from hwcls.models import alexnet, attention_cnn, gated_cnn, kernel_cnn, mlp, residual_cnn, simple_cnn, timm, user_model
from hwcls.models.skip_init import undrawn

__all__ = ["REGISTRY", "build", "check", "checked", "parameters", "skeleton"]

REGISTRY: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp.build,
    "simple_cnn": simple_cnn.build,
    "residual_cnn": residual_cnn.build,
    "attention_cnn": attention_cnn.build,
    "gated_cnn": gated_cnn.build,
    "kernel_cnn": kernel_cnn.build,
    "alexnet": alexnet.build,
    "timm": timm.build,
    "user": user_model.build,
}


def build(config: ModelConfig, *, classes: int, channels: int, image_size: int) -> nn.Module:
    """The model that `config` describes, its weights drawn from torch's global generator (seed it first).

    The model maps (B, channels, image_size, image_size) floats to (B, classes) logits. Raises UserError where the
    image is too small for it, a name, file or function does not exist, or pretrained weights cannot be had.
    """
    family = "user" if isinstance(config, UserModelConfig) else config.name
    return REGISTRY[family](config, classes=classes, channels=channels, image_size=image_size)


def parameters(model: nn.Module) -> int:
    """The number of weights, trained and frozen, of `model`."""
    return sum(weight.numel() for weight in model.parameters())


def skeleton(config: ModelConfig, *, classes: int, channels: int, image_size: int) -> nn.Module:
    """The model with no weight drawn or fetched, on the CPU: its modules and shapes alone mean something.

    A path of weights must exist. A user's own model is built as it is, since its code may read values. torch's
    generator is left as it was. Raises UserError as `build` does.
    """
    if isinstance(config, UserModelConfig):
        with torch.random.fork_rng(devices=[]):
            return build(config, classes=classes, channels=channels, image_size=image_size)
    if isinstance(config, TimmConfig):
        config = timm.unfetched(config)
    with undrawn():
        return build(config, classes=classes, channels=channels, image_size=image_size)


def check(config: ModelConfig, *, classes: int, channels: int, image_size: int) -> int:
    """Run one forward pass of the model's skeleton and return the number of its parameters.

    Raises UserError as `build` does, and where the model does not map (2, channels, image_size, image_size) to
    (2, classes) or has no weight to train.
    """
    return parameters(checked(config, classes=classes, channels=channels, image_size=image_size))


def checked(config: ModelConfig, *, classes: int, channels: int, image_size: int) -> nn.Module:
    """The model's skeleton after `check`."""
    model = skeleton(config, classes=classes, channels=channels, image_size=image_size)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        images = torch.zeros(2, channels, image_size, image_size)  # (2, C, H, W)
        try:
            shape = tuple(model(images).shape)
        except Exception as error:
            what = f"the model cannot take {channels}x{image_size}x{image_size} images: {str(error)[:240]}"
            raise UserError(what, where=f"model {config.name}") from error
    if shape != (2, classes):
        what = f"the model maps 2 images to {shape}, not to (2, {classes}) logits"
        raise UserError(what, where=f"model {config.name}", remedy="return one score per image and class")
    if not any(weight.requires_grad for weight in model.parameters()):
        remedy = "leave requires_grad on for what shall be trained"
        raise UserError("the model has no trainable weight", where=f"model {config.name}", remedy=remedy)
    return model
