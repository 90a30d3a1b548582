"""A forward pass on black images: whether a model takes them, and what shapes its lazy layers get."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from hwcls.errors import UserError
from hwcls.models.user.code import error_line
from hwcls.models.user.output import bounded_output


@torch.no_grad()
def run_blank(model: nn.Module, name: str, channels: int, image_size: int) -> Any:
    """What a model makes of two black images (2, C, S, S); raises UserError where it cannot take them."""
    images = torch.zeros(2, channels, image_size, image_size)  # (2, C, S, S)
    try:
        with bounded_output():
            return model(images)
    except (Exception, SystemExit) as error:
        reason = error_line(error) if isinstance(error, SystemExit) else str(error)[:240]
        what = f"the model cannot take {channels}x{image_size}x{image_size} images: {reason}"
        raise UserError(what, where=f"model {name}") from error


def initialise_lazy(model: nn.Module, name: str, channels: int, image_size: int) -> None:
    """Give torch's lazy layers (`nn.LazyConv2d`) their shapes and weights, which are drawn from torch's generator.

    A model without any is left as it is. Raises UserError as `run_blank` does, and where a lazy layer is never used.
    """
    if _lazy_tensor(model) is None:
        return
    modes = {module: module.training for module in model.modules()}
    run_blank(model.eval(), name, channels, image_size)  # in evaluation mode, so that no statistics are kept
    for module, mode in modes.items():
        module.training = mode
    if unused := _lazy_tensor(model):
        raise UserError(f"no forward pass uses the lazy '{unused}'", where=f"model {name}", remedy="remove that layer")


def _lazy_tensor(model: nn.Module) -> str | None:
    """The name of the first weight or buffer whose shape is not known yet."""
    return next((name for name, one in chain(model.named_parameters(), model.named_buffers()) if is_lazy(one)), None)
