"""Load found weights into a backbone of timm; only tensors are unpickled."""

from __future__ import annotations

import textwrap
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from hwcls.errors import UserError
from hwcls.format import format_count
from hwcls.models.weights.match import (
    backbone_shapes,
    classifier_names,
    describe_difference,
    has_all_shapes,
    rename_by_order,
)
from hwcls.models.weights.source import SOURCES, FoundWeights

if TYPE_CHECKING:
    from torch import nn

PREFIX = "backbone."  # of the backbone's tensors in a trial's best.safetensors
STEM = "conv1.weight"  # of a ResNet
WHERE = "model.pretrained"
LFS = b"version https://git-lfs"
REMEDY = "give a file with the weights of this very backbone"

_verified: set[tuple[str, str]] = set()  # backbones and files, in this process


def read_weights(found: FoundWeights) -> dict[str, Any]:
    """The tensors of weights on this machine, the classifier's too, named as timm names them where that is known.

    Raises UserError where the file is damaged, holds no weights, or not those that its source should have.
    """
    weights = read_tensors(found)
    weights = rename_tensors(found, weights) or weights
    once = (found.backbone, str(found.digest))
    if once not in _verified:
        SOURCES[found.kind]().verify(found, weights)
        _verified.add(once)
    return weights


def rename_tensors(found: FoundWeights, weights: dict[str, Any]) -> dict[str, Any] | None:
    """The tensors with timm's names, where a file has others for the same modules in the same order; else None."""
    if str(found.path).endswith(".safetensors"):
        return None  # which sorts what it writes
    return rename_by_order(weights, found.backbone)


def load_backbone(found: FoundWeights, options: dict[str, Any]) -> tuple[nn.Module, bool]:
    """timm's backbone with weights that are on this machine, all but their classifier.

    Args:
        options: Of timm.create_model; `num_classes` is 0.

    Returns:
        The backbone, and whether the weights were trained with `stem: small`: their first convolution is the middle of
        timm's 7x7 one then, with zeros around it.

    Raises:
        UserError: The file is damaged, or holds the weights of another architecture or for other channels.
    """
    import timm

    weights = read_weights(found)
    for name in classifier_names(found.backbone):
        weights.pop(name, None)
    is_small = _enlarge_small_stem(weights, found.backbone)
    overlay: dict[str, Any] = {"state_dict": weights, "num_classes": 0, "label_offset": 0}
    if size := _other_input_size(weights, found, options["in_chans"]):
        overlay["input_size"] = size
    try:
        # with num_classes 0 on both sides timm's loader checks every name and shape
        model: nn.Module = timm.create_model(found.backbone, pretrained=True, pretrained_cfg_overlay=overlay, **options)
    except Exception as error:
        remedy = REMEDY
        if found.place.endswith(".safetensors") and has_all_shapes(weights, found.backbone):
            remedy += " and timm's names, or save it with torch.save, which keeps the order of other names"
        what = f"'{found.place}' {describe_difference(weights, found.backbone)}"
        raise UserError(what, where=WHERE, remedy=remedy) from error
    vars(model)["pretrained_cfg"].pop("state_dict", None)  # a second copy of the weights
    return model, is_small


def _enlarge_small_stem(weights: dict[str, Any], backbone: str) -> bool:
    """Surround the 3x3 first convolution of a ResNet with zeros where timm's is 7x7; whether that was so."""
    from torch.nn.functional import pad

    small, wanted = weights.get(STEM), backbone_shapes(backbone).get(STEM, ())
    if small is None or tuple(small.shape[2:]) != (3, 3) or wanted[2:] != (7, 7):
        return False
    weights[STEM] = pad(small, [2, 2, 2, 2])  # (F, C, 7, 7)
    return True


def _other_input_size(weights: dict[str, Any], found: FoundWeights, channels: int) -> tuple[int, ...] | None:
    """timm's input size with `channels` where the weights are for those and not for timm's 3.

    Raises UserError where they are for others.
    """
    import timm

    known: Any = timm.get_pretrained_cfg(found.backbone)
    firsts = (known.first_conv if known else None) or ()
    for first in (firsts,) if isinstance(firsts, str) else firsts:
        name = f"{first}.weight"
        wanted, shape = backbone_shapes(found.backbone).get(name), getattr(weights.get(name), "shape", None)
        if wanted is None or shape is None or len(shape) != len(wanted) or shape[1] == wanted[1]:
            continue
        if shape[1] == channels and wanted[1] == known.input_size[0]:
            return (channels, *known.input_size[1:])
        held = format_count(shape[1], "channel")
        what = f"'{found.place}' holds weights for images of {held} ('{name}'), and these have {channels}"
        remedy = f"give weights for 3 channels, which any images can use, or for {channels}"
        raise UserError(what, where=WHERE, remedy=remedy)
    return None


def read_tensors(found: FoundWeights) -> dict[str, Any]:
    """The tensors of weights on this machine by the names in their file: those of its moving average where it has one.

    Of a trial's best.safetensors the backbone's. Raises UserError where the file cannot be read.
    """
    from timm.models import load_state_dict

    if found.path is None:
        raise ValueError(f"{found.place} has not been downloaded")
    path = found.path
    remedy = "copy it again, or save it as .safetensors or with torch.save(model.state_dict(), ...)"
    try:
        with open(path, "rb") as file:
            is_pointer = file.read(len(LFS)) == LFS
        weights = {} if is_pointer else load_state_dict(str(path), weights_only=True)
        tensors = {name: weight for name, weight in weights.items() if hasattr(weight, "shape")}
    except Exception as error:
        reason = textwrap.shorten(str(error), 200, placeholder=" ...")
        if isinstance(error.__cause__ or error, (UnpicklingError, EOFError)):  # torch says to trust it, or nothing
            reason = "it is damaged, or holds more than tensors"
        raise UserError(f"'{path}' is unreadable as weights: {reason}", where=WHERE, remedy=remedy) from error
    if is_pointer:
        raise UserError(f"'{path}' is a pointer of Git LFS, not the weights", where=WHERE, remedy="run git lfs pull")
    if not tensors:
        raise UserError(f"'{path}' holds no weights", where=WHERE, remedy=remedy)
    own = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
    return own or tensors
