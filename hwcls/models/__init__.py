"""Models: built from their configs, and checked before they are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwcls.config.model import ModelFamily
from hwcls.errors import UserError

if TYPE_CHECKING:
    from torch import nn


def build(config: ModelFamily, *, classes: int, channels: int, image_size: int) -> nn.Module:
    """The model that `config` describes; see `ModelFamily.build`."""
    model: nn.Module = config.build(classes=classes, channels=channels, image_size=image_size)
    return model


def count_parameters(model: nn.Module) -> int:
    """The number of weights, trained and frozen, of `model`."""
    return sum(weight.numel() for weight in model.parameters())


def build_skeleton(config: ModelFamily, *, classes: int, channels: int, image_size: int) -> nn.Module:
    """The model on the CPU with weights that are neither drawn nor fetched: only its modules and shapes are valid.

    A file of weights must exist. A user's own model is built as it is, since its code may read values. torch's
    generator is left as it was. Raises UserError as `build` does.
    """
    import torch

    from hwcls.models.skip_init import skip_init
    from hwcls.models.weights.file import require_weights_file

    if config.source_file is not None:
        with torch.random.fork_rng(devices=[]):
            return build(config, classes=classes, channels=channels, image_size=image_size)
    if config.weights_file is not None:
        require_weights_file(config.weights_file)
    with skip_init():
        return build(config.without_pretrained(), classes=classes, channels=channels, image_size=image_size)


def check(config: ModelFamily, *, classes: int, channels: int, image_size: int) -> int:
    """Run one forward pass of the model's skeleton and return the number of its parameters.

    Raises UserError as `build` does, and where the model does not map (2, channels, image_size, image_size) to
    (2, classes) or has no weight to train.
    """
    return count_parameters(build_checked(config, classes=classes, channels=channels, image_size=image_size))


def build_checked(config: ModelFamily, *, classes: int, channels: int, image_size: int) -> nn.Module:
    """The model's skeleton after `check`."""
    import torch

    from hwcls.models.forward_pass import run_blank

    model = build_skeleton(config, classes=classes, channels=channels, image_size=image_size)
    with torch.random.fork_rng(devices=[]):
        logits = run_blank(model, config.name, channels, image_size)
    found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if found != (2, classes) or not logits.is_floating_point():
        kind = "" if found != (2, classes) else f" {logits.dtype}"
        what = f"the model maps 2 images to {found}{kind}, not to (2, {classes}) logits"
        raise UserError(what, where=f"model {config.name}", remedy="return one score per image and class")
    if not any(weight.requires_grad for weight in model.parameters()):
        remedy = "leave requires_grad on for the weights to be trained"
        raise UserError("the model has no trainable weight", where=f"model {config.name}", remedy=remedy)
    return model
