"""Heat maps: which part of an image speaks for a class, by captum.

Grad-CAM (arXiv 1610.02391) on the last feature map, in the form that multiplies each position with its own gradient
(HiResCAM, arXiv 2011.08891): the same where the head averages all positions, and right also where it weighs them, as
in most of hwcls's own families: where the class is the corner with a bright square, the maximum of a simple_cnn's map
lies in that corner for over 90 % of the images, and for less than half with the mean of the gradients. Models whose
last map is too small, or that have none (a fully connected net, a vision transformer), are explained by occlusion
(arXiv 1311.2901): how much of its probability the class loses where a square is covered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hwcls import models
from hwcls.errors import UserError, install_extra
from hwcls.inspection.load_trained import Trained, normalise_pixels
from hwcls.models.generators import fixed_generators

GRAD_CAM = "Grad-CAM (HiResCAM)"
BATCH = 16  # images at a time
LEAST_SIDE = 4  # positions of a map's side: fewer do not say where
WINDOW = 4  # a covered square's side is a WINDOW-th of the image's, and it moves by half of that
OCCLUDED = 64  # images in one forward pass
Attribute = Callable[[Tensor, Tensor], Tensor]  # images (B, C, S, S) and classes (B,) to (B, h, w)


@dataclass(frozen=True)
class HeatMaps:
    """How a model's predictions are explained.

    Attributes:
        method: Its name, as pictures show it.
        reason: Why it is not Grad-CAM; "" where it is.
    """

    method: str
    reason: str
    trained: Trained
    attribute: Attribute

    def compute(self, pixels: np.ndarray[Any, Any], classes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(B, S, S, C) uint8 and (B,) classes to (B, S, S) float32 from 0 to 1, the largest value of each image.

        It is 0 everywhere where no part of the image speaks for the class.
        """
        images = normalise_pixels(self.trained.inputs, pixels, self.trained.device)
        found = self.attribute(images, torch.from_numpy(classes).to(self.trained.device)).detach().float()
        found = nn.functional.interpolate(found[:, None], images.shape[2:], mode="bilinear")[:, 0].clamp(min=0)
        most = found.amax((1, 2), keepdim=True)
        heat: np.ndarray[Any, Any] = torch.where(most > 0, found / most, 0.0).nan_to_num().cpu().numpy()
        return heat


def require_captum() -> None:
    """Raise UserError where captum is not installed."""
    if find_spec("captum") is None:
        raise UserError("--explain needs captum", remedy=install_extra("explain"))


def choose_method(trained: Trained) -> HeatMaps:
    """Grad-CAM where the model ends with a feature map, else occlusion."""
    model = _differentiable(trained)
    inputs = trained.inputs
    blank = np.zeros((1, inputs.image_size, inputs.image_size, inputs.channels), np.uint8)
    images = normalise_pixels(inputs, blank, trained.device)
    layer, side = find_last_map(model, images)
    if layer is None:
        reason = "it ends with no feature map"
    elif side < LEAST_SIDE:
        reason = f"its last feature map has {side} x {side} positions"
    elif not _has_gradients(grad_cam := _grad_cam(model, layer), images):
        reason = "no gradient reaches its last feature map"
    else:
        return HeatMaps(GRAD_CAM, "", trained, grad_cam)
    return HeatMaps("occlusion", reason, trained, _occlusion(model))


def _has_gradients(attribute: Attribute, images: Tensor) -> bool:
    """Whether gradients flow: a model of the user's own may detach tensors or turn gradients off."""
    try:
        attribute(images, torch.zeros(len(images), dtype=torch.long, device=images.device))
    except RuntimeError:
        return False
    return True


def find_last_map(model: nn.Module, images: Tensor) -> tuple[nn.Module | None, int]:
    """The module whose output is the last feature map (B, C, side, side), and its side; (None, 0) where there is none.

    Only single positions and vectors may follow it: after tokens (B, N, C), as those of a transformer, or maps with
    their channels last, no position can be told from an earlier map.
    """
    found: list[tuple[nn.Module, int]] = []
    calls: dict[nn.Module, int] = {}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        calls[module] = calls.get(module, 0) + 1
        shape = tuple(output.shape) if isinstance(output, Tensor) else ()
        if len(shape) == 4 and shape[2] == shape[3]:
            if shape[2] > 1 and not isinstance(module, nn.AvgPool2d | nn.AdaptiveAvgPool2d):
                found.append((module, shape[2]))
        elif len(shape) > 2:
            found.clear()

    hooks = [module.register_forward_hook(note) for module in model.modules()]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    once = [(module, side) for module, side in found if calls[module] == 1]  # else its output is not one tensor
    return once[-1] if once else (None, 0)


def _differentiable(trained: Trained) -> nn.Module:
    """The model itself, or a copy through whose frozen part gradients flow; no weight has a gradient."""
    described = trained.config.model.without_pretrained()
    model, inputs = trained.model, trained.inputs
    if described.unfrozen() != described:
        with fixed_generators(trained.config.seed):  # what the model draws may be in no file of weights
            model = models.build(
                described.unfrozen(),
                classes=len(inputs.classes),
                channels=inputs.channels,
                image_size=inputs.image_size,
            )
        model.load_state_dict(trained.model.state_dict())
        model = model.to(trained.device).eval()
    return model.requires_grad_(False)


def _grad_cam(model: nn.Module, layer: nn.Module) -> Attribute:
    from captum.attr import LayerGradientXActivation

    method = LayerGradientXActivation(model, layer)
    return lambda images, classes: method.attribute(images, target=classes).sum(1)


def _occlusion(model: nn.Module) -> Attribute:
    from captum.attr import Occlusion

    method = Occlusion(lambda images: model(images).log_softmax(1))

    def attribute(images: Tensor, classes: Tensor) -> Tensor:
        channels, side = images.shape[1], max(1, images.shape[2] // WINDOW)
        step = max(1, side // 2)
        with torch.no_grad():
            found = method.attribute(
                images,
                target=classes,
                sliding_window_shapes=(channels, side, side),
                strides=(channels, step, step),
                baselines=0,  # the mean of the training images
                perturbations_per_eval=max(1, OCCLUDED // len(images)),
            )
        return found.sum(1)  # type: ignore[no-any-return]

    return attribute
