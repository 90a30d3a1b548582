"""A trial's model before its first step, with a pretrained encoder where the trial asks for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from hwcls import models
from hwcls.config.trial import TrialConfig
from hwcls.data.catalog import cache_folder
from hwcls.data.imageset import ImageSet
from hwcls.models.generators import seed_generators
from hwcls.models.memory_format import to_channels_last
from hwcls.training.features.backbone import FrozenBackbone
from hwcls.training.pretrain import encoder_weights, pretrain_seconds, reconstructions


@dataclass(frozen=True)
class BuiltModel:
    """A trial's model before its first step."""

    model: nn.Module  # what is trained: the whole model, or the head alone on the features of `backbone`
    pictures: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)  # of its pretraining, for inspection.npz
    pretrain_seconds: float | None = None
    backbone: FrozenBackbone | None = None
    probe: Mapping[str, Any] | None = None  # how the head was trained that it starts with

    @property
    def whole(self) -> nn.Module:
        """From images (B, C, H, W) to logits (B, K), with the weights that are trained."""
        return self.model if self.backbone is None else self.backbone.with_head(self.model)

    def complete(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of the whole model, from those of `model`."""
        return dict(weights) if self.backbone is None else self.backbone.complete(weights)


def build_model(
    config: TrialConfig, data: ImageSet, device: torch.device, dtype: torch.dtype = torch.float32
) -> BuiltModel:
    """Build a trial's model from its seed, channels_last on `device`; an encoder is pretrained first where asked for.

    Raises:
        UserError: The model cannot be built or pretrained.
    """
    seed_generators(config.seed)
    model = models.build(config.model, classes=len(data.classes), channels=data.channels, image_size=data.image_size)
    pictures, seconds = {}, None
    if config.model.encoder_pretraining is not None:
        cache = cache_folder()
        cast(nn.Module, model.encoder).load_state_dict(encoder_weights(config, data, device, cache))
        pictures, seconds = reconstructions(config, data, device, cache), pretrain_seconds(config, data, cache)
    return BuiltModel(to_channels_last(model, device, dtype), pictures, seconds)
