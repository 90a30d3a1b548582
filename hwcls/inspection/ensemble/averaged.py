"""Models whose probabilities are averaged as one module, to be exported."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from hwcls.data.imageset import InputSpec
from hwcls.errors import UserError
from hwcls.inspection.ensemble.model import Ensemble
from hwcls.inspection.load_trained import Trained
from hwcls.training.step.precision import restore_classes


class AveragedLogits(nn.Module):
    """The logarithm of averaged probabilities: (B, C, S, S), normalised as the first model's, to (B, K).

    Its softmax are the probabilities. Each model normalises by its own mean and std, and sees each of its views.
    """

    def __init__(self, members: tuple[Trained, ...], shares: tuple[float, ...]) -> None:
        super().__init__()
        self.models = nn.ModuleList(copy_for_export(one) for one in members)
        self.axes = [[view.axes for view in one.shown.shown] for one in members]
        self.log_shares = [math.log(share / one.views) for one, share in zip(members, shares, strict=True)]
        for place, one in enumerate(members):
            scale, shift = _renormalise(members[0].inputs, one.inputs)
            self.register_buffer(f"scale_{place}", scale)
            self.register_buffer(f"shift_{place}", shift)

    def forward(self, images: Tensor) -> Tensor:
        parts = []
        for place, (model, log_share) in enumerate(zip(self.models, self.log_shares, strict=True)):
            own = images * self.get_buffer(f"scale_{place}") + self.get_buffer(f"shift_{place}")
            for axes in self.axes[place]:
                seen = own.flip(axes) if axes else own
                parts.append(model(seen).float().log_softmax(1) + log_share)
        return torch.stack(parts).logsumexp(0)


def copy_for_export(trained: Trained) -> nn.Module:
    """The model on the CPU, in the memory format that other programs use, with its layers' own classes."""
    inputs = trained.inputs
    with torch.no_grad():  # weights that are computed, as by torch's weight_norm, cannot be copied with their graph
        trained.model(torch.zeros(2, inputs.channels, inputs.image_size, inputs.image_size, device=trained.device))
    copied = copy.deepcopy(trained.model).cpu().to(memory_format=torch.contiguous_format)
    restore_classes(copied)
    return copied


def merge_models(trained: Trained | Ensemble) -> nn.Module:
    """A module of one input that gives the logits of a model, or of models and views that are averaged.

    Raises UserError where images are decoded in several ways, or views do more than mirror.
    """
    if isinstance(trained, Trained) and trained.views == 1:
        return copy_for_export(trained)
    members, shares = ((trained,), (1.0,)) if isinstance(trained, Trained) else (trained.members, trained.shares)
    if len(trained.decodings) > 1:
        ways = " and ".join(f"{one.image_size} px, {one.resize}, {one.interpolation}" for one in trained.decodings)
        remedy = f"export each of its models: {members[0].path} and the others beside it"
        raise UserError(f"its models take images in several ways ({ways})", where=str(trained.path), remedy=remedy)
    if not all(one.shown.only_mirrored for one in members):
        what = "views that move or colour images cannot be exported, only mirrored ones"
        raise UserError(what, where="--views", remedy="export with --views 1, and average the views in your program")
    return AveragedLogits(members, shares)


def _renormalise(given: InputSpec, own: InputSpec) -> tuple[Tensor, Tensor]:
    """Factor and offset, (C, 1, 1) each, from what one model's normalisation gives to what another's would."""
    mean, std, own_mean, own_std = (
        torch.tensor(values, dtype=torch.float64)[:, None, None]
        for values in (given.mean, given.std, own.mean, own.std)
    )
    return (std / own_std).float(), ((mean - own_mean) / own_std).float()
