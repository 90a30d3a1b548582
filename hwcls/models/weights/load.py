"""Load found weights into a backbone of timm; only tensors are unpickled."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from hwcls.errors import UserError
from hwcls.models.weights.match import (
    backbone_shapes,
    classifier_names,
    describe_difference,
    has_all_shapes,
    rename_by_order,
)
from hwcls.models.weights.source import SOURCES, FoundWeights, file_digest

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

log = logging.getLogger(__name__)

PREFIX = "backbone."  # of the backbone's tensors in a trial's best.safetensors
WHERE = "model.pretrained"
LFS = b"version https://git-lfs"
REMEDY = "give a file with the weights of this very backbone"

_checked: set[tuple[str, str]] = set()  # backbones and files that were verified or announced in this process


def read_weights(found: FoundWeights) -> dict[str, Any]:
    """The tensors of weights on this machine, the classifier's too, named as timm names them where that is known.

    Raises UserError where the file is damaged, holds no weights, or not those that its source should have.
    """
    path = _path(found)
    weights = _read_tensors(path)
    if any(name.startswith(PREFIX) for name in weights):  # a trial's best.safetensors, of which the backbone is used
        weights = {name.removeprefix(PREFIX): value for name, value in weights.items() if name.startswith(PREFIX)}
    # safetensors sorts what it writes
    renamed = None if path.suffix == ".safetensors" else rename_by_order(weights, found.backbone)
    once = (found.backbone, file_digest(path))
    if once not in _checked:
        SOURCES[found.kind]().verify(found, renamed or weights)
        if renamed is not None and found.kind == "file":
            log.info("%s", describe_renaming(found, len(renamed)))
        _checked.add(once)
    return weights if renamed is None else renamed


def describe_renaming(found: FoundWeights, count: int) -> str:
    """A sentence on a file whose tensors have other names than timm's."""
    what = f"{found.place} names its {count} tensors in another way than timm"
    return f"{what}: they are {found.backbone}'s in their order, as every module and shape is the same"


def load_backbone(found: FoundWeights, options: dict[str, Any]) -> nn.Module:
    """timm's backbone with weights that are on this machine, all but their classifier.

    Args:
        options: Of timm.create_model; `num_classes` is 0.

    Raises:
        UserError: The file is damaged, or holds the weights of another architecture or for other channels.
    """
    import timm

    weights = read_weights(found)
    for name in classifier_names(found.backbone):
        weights.pop(name, None)
    overlay: dict[str, Any] = {"state_dict": weights, "num_classes": 0, "label_offset": 0}
    if channels := _other_channels(weights, found, options["in_chans"]):
        overlay["input_size"] = (channels, 1, 1)  # of which timm reads the channels
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
    return model


def _other_channels(weights: dict[str, Any], found: FoundWeights, channels: int) -> int | None:
    """The channels of images that the weights were trained on where those are not timm's 3; raises for others."""
    import timm

    known: Any = timm.get_pretrained_cfg(found.backbone)
    firsts = (known.first_conv if known else None) or ()
    for first in (firsts,) if isinstance(firsts, str) else firsts:
        name = f"{first}.weight"
        wanted, shape = backbone_shapes(found.backbone).get(name), getattr(weights.get(name), "shape", None)
        if wanted is None or shape is None or len(shape) != len(wanted) or shape[1] == wanted[1]:
            continue
        if shape[1] == channels and wanted[1] == known.input_size[0]:
            return channels
        what = f"'{found.place}' holds weights for images of {shape[1]} channels ('{name}'), and these have {channels}"
        remedy = f"give weights for 3 channels, which any images can use, or for {channels}"
        raise UserError(what, where=WHERE, remedy=remedy)
    return None


def _read_tensors(path: Path) -> dict[str, Any]:
    """The tensors of a .safetensors or .pth file by name, those of its moving average where it has one."""
    from timm.models import load_state_dict

    remedy = "save them as .safetensors or with torch.save(model.state_dict(), ...)"
    try:
        with open(path, "rb") as file:
            is_pointer = file.read(len(LFS)) == LFS
        if is_pointer:
            what = f"'{path}' is a pointer of Git LFS, not the weights"
            raise UserError(what, where=WHERE, remedy="run git lfs pull")
        weights = load_state_dict(str(path), weights_only=True)
        tensors = {name: weight for name, weight in weights.items() if hasattr(weight, "shape")}
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"'{path}' is unreadable as weights: {reason}", where=WHERE, remedy=remedy) from error
    if not tensors:
        raise UserError(f"'{path}' holds no weights", where=WHERE, remedy=remedy)
    return tensors


def _path(found: FoundWeights) -> Path:
    if found.path is None:
        raise ValueError(f"{found.place} has not been downloaded")
    return found.path
