"""BatchNorm folded into the convolution before it: the same features in evaluation mode, at a fraction of the time."""

from __future__ import annotations

import copy
import logging
import weakref
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as Norm
from torch.nn.utils.fusion import fuse_conv_bn_eval

log = logging.getLogger(__name__)
TOLERANCE = 1e-4  # of the folded features' difference, relative to the features' norm; float16 rounds to 5e-4


@torch.inference_mode()
def fold_batch_norm(backbone: nn.Module, images: Tensor) -> tuple[nn.Module, Tensor]:
    """A copy of a backbone with its BatchNorm folded, and the features (b, F) of the backbone itself.

    The copy is compared to the backbone on `images` (b, C, S, S), on their device; where it differs, the backbone is
    returned. Which convolution a BatchNorm follows is seen from the tensors, so that any backbone will do.
    """
    backbone.eval()
    pairs, expected = _find_pairs(backbone, images)
    if not pairs:
        return backbone, expected
    folded = copy.deepcopy(backbone)
    for conv, norm in pairs:
        fused = fuse_conv_bn_eval(cast(nn.Conv2d, folded.get_submodule(conv)), cast(Norm, folded.get_submodule(norm)))
        # timm's BatchNormAct2d has the activation in it
        after = getattr(folded.get_submodule(norm), "act", nn.Identity())
        folded.set_submodule(conv, fused)
        folded.set_submodule(norm, after)
    difference = relative_difference(folded(images), expected)
    if not difference < TOLERANCE:
        log.warning("features: BatchNorm is not folded, as it would change them by %.2g: slower", difference)
        return backbone, expected
    return folded, expected


def relative_difference(features: Tensor, expected: Tensor) -> float:
    """The largest difference of an image's features (b, F) from the expected ones, relative to their norm."""
    difference = (features.double() - expected.double()).norm(dim=1) / expected.double().norm(dim=1).clamp(min=1e-12)
    return float(difference.max())


def _find_pairs(backbone: nn.Module, images: Tensor) -> tuple[list[tuple[str, str]], Tensor]:
    """The names of the convolutions that only a BatchNorm follows, and of that BatchNorm; the features of `images`."""
    names = {module: name for name, module in backbone.named_modules()}
    made: dict[int, tuple[nn.Module, weakref.ref[Tensor]]] = {}  # by the id of the tensor, which may be gone
    calls: dict[nn.Module, int] = {}
    pairs: list[tuple[nn.Module, nn.Module]] = []

    def after_convolution(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        made[id(output)] = module, weakref.ref(output)
        calls[module] = calls.get(module, 0) + 1

    def before_norm(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        calls[module] = calls.get(module, 0) + 1
        conv, output = made.get(id(inputs[0]), (None, None))
        if conv is not None and output is not None and output() is inputs[0]:
            pairs.append((conv, module))

    hooks = []
    for module in names:
        if _is_plain_convolution(module):
            hooks.append(module.register_forward_hook(after_convolution))
        elif isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            hooks.append(module.register_forward_pre_hook(before_norm))
    try:
        features = backbone(images)
    finally:
        for hook in hooks:
            hook.remove()
    once = [(conv, norm) for conv, norm in pairs if calls[conv] == calls[norm] == 1]
    return [(names[conv], names[norm]) for conv, norm in once], features


def _is_plain_convolution(module: nn.Module) -> bool:
    """Whether a convolution uses its weights as they are: some standardise them in each forward pass."""
    from timm.layers.conv2d_same import Conv2dSame

    return type(module) in (nn.Conv2d, Conv2dSame)
