"""The head of a model with a frozen backbone, and what it is trained on: features that are computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from hwcls.config.trial import TrialConfig
from hwcls.data.augment.apply import Normalise
from hwcls.data.imageset import ImageSet
from hwcls.data.loader import SplitName
from hwcls.errors import UserError
from hwcls.training.built_model import BuiltModel
from hwcls.training.distributed import World
from hwcls.training.features.backbone import FrozenBackbone, share_backbone
from hwcls.training.features.cache import open_features
from hwcls.training.features.extract import compute_features
from hwcls.training.features.feed import FeatureFeed, FeatureSource
from hwcls.training.features.fold import relative_difference

COMPARED = 16  # images
SAME = 0.01  # the most that features of the same backbone differ, relative to their norm


def build_head(
    config: TrialConfig, data: ImageSet, world: World, dtype: torch.dtype = torch.float32
) -> tuple[BuiltModel, FeatureFeed]:
    """The head of a trial with cached features, drawn from its seed, and its feed; what is missing is computed now.

    The ranks compute it together, and with any other processes that need it.

    Raises:
        UserError: The backbone cannot be built, or its features cannot be kept.
    """
    compute_features(config, data, world.device)
    backbone = share_backbone(config.model, data, world.device)
    if world.device.type == "cuda":
        _ = backbone.seconds if world.rank == 0 else 0.0
        torch.cuda.reset_peak_memory_stats(world.device)  # from here on the peak is that of a step
    return _assemble(config, data, world, dtype, open_features(config, data), backbone)


def build_measured_head(
    config: TrialConfig, data: ImageSet, world: World, dtype: torch.dtype = torch.float32
) -> tuple[BuiltModel, FeatureFeed]:
    """As `build_head`, to measure how long steps take: no weights are loaded, and no features computed."""
    backbone = share_backbone(config.model.without_pretrained(), data, world.device)
    return _assemble(config, data, world, dtype, _Blank(data, backbone.width), backbone)


@torch.no_grad()
def find_features(
    config: TrialConfig, data: ImageSet, split: SplitName, backbone: nn.Module, device: torch.device
) -> FeatureFeed | None:
    """Cached features of a split that are those of `backbone`, which is on `device`; None where they are not there.

    Some images tell whether they are: the trial's weights may have been exchanged since it was trained.
    """
    try:
        feed = FeatureFeed(config, data, open_features(config, data), World(device=device))
        found = next(feed.evaluate(split, COMPARED)).images  # (b, F)
    except UserError:  # some are missing
        return None
    part = getattr(data, split)
    pixels = torch.from_numpy(part.images[part.rows[:COMPARED]]).to(device)
    images = Normalise(data.mean, data.std, data.image_size, device, torch.float32)(pixels).permute(0, 3, 1, 2)
    difference = relative_difference(found, backbone(images))
    return feed if difference < SAME else None


def _assemble(
    config: TrialConfig,
    data: ImageSet,
    world: World,
    dtype: torch.dtype,
    source: FeatureSource,
    backbone: FrozenBackbone,
) -> tuple[BuiltModel, FeatureFeed]:
    feed = FeatureFeed(config, data, source, world, dtype)
    torch.manual_seed(config.seed)
    head = config.model.build_head(features=feed.shape[0], classes=len(data.classes))
    return BuiltModel(head.to(device=world.device, dtype=dtype), backbone=backbone), feed


@dataclass(frozen=True, eq=False)
class _Blank:
    """Features that are all zero, in no memory."""

    data: ImageSet
    width: int

    def read(self, split: str, view: int = 0) -> np.ndarray:
        return np.broadcast_to(np.zeros(self.width, np.float16), (len(getattr(self.data, split).images), self.width))
