"""The frozen backbone's weights beside those of a head."""

from __future__ import annotations

import torch
from safetensors.torch import load, save

from hwcls.data.imageset import InputSpec
from hwcls.models.timm import TimmConfig
from hwcls.training.features.backbone import FrozenBackbone


def test_weights_that_modules_share_are_written() -> None:
    """Blocks of CoAT share their position encodings."""
    config = TimmConfig(backbone="coat_lite_tiny", frozen=True)
    inputs = InputSpec("made", tuple("abc"), 32, 3, (0.5,) * 3, (0.5,) * 3)
    backbone = FrozenBackbone(config, inputs, torch.device("cpu"))
    head = config.build_head(features=backbone.width, classes=3)
    whole = backbone.complete(head.state_dict())
    written = load(save({name: weight.contiguous() for name, weight in whole.items()}))
    backbone.model.load_state_dict(written)
    assert torch.equal(backbone.model.state_dict()["head.0.weight"], head.state_dict()["head.0.weight"])
