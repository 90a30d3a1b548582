"""From a TrialConfig to a Trainer: the model and its feed, then a micro-batch that fits into memory."""

from __future__ import annotations

import torch

from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import ImageSet
from hwcls.data.loader import EpochFeed, Feed
from hwcls.training.built_model import BuiltModel, build_model
from hwcls.training.distributed import World
from hwcls.training.features.head import build_head, build_measured_head
from hwcls.training.memory import retain_freed_memory
from hwcls.training.observer import Observer
from hwcls.training.probe import start_from_probe
from hwcls.training.step.micro_batch import PROBED, fit_micro_batch, memory_attempt
from hwcls.training.trainer import Trainer


def build_trainer(
    config: TrialConfig,
    data: ImageSet,
    world: World | None = None,
    observer: Observer | None = None,
    *,
    micro_batch: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Trainer:
    """Assemble the trainer of one rank.

    Args:
        config: The trial.
        data: Its images.
        world: This rank; None: it trains alone.
        observer: Its hooks; see hwcls.training.observer.
        micro_batch: The most images per rank and backward pass; None: as many as fit into memory.
        dtype: Of weights and images; float64 for exact comparisons.

    Raises:
        UserError: The model cannot be built, or memory does not hold even one image.
    """
    world = world or World()
    retain_freed_memory()
    if config.cached_views(data.augment) is None:
        built, feed = _build_whole(config, data, world, dtype)
    else:
        built, feed = build_head(config, data, world, dtype)
    return _assemble(config, data, built, feed, world, observer, micro_batch)


def build_measured_trainer(
    config: TrialConfig, data: ImageSet, world: World | None = None, observer: Observer | None = None
) -> Trainer:
    """A trainer whose steps take as long as those of `build_trainer`'s: nothing is downloaded, pretrained or computed.

    A step takes as long whatever the values of weights and features. Raises UserError as `build_trainer` does.
    """
    world = world or World()
    retain_freed_memory()
    model = config.model.without_pretrained().with_least_pretraining()
    measured = config.model_copy(update={"model": model})
    if config.cached_views(data.augment) is None:
        built, feed = _build_whole(measured, data, world, torch.float32)
    else:
        built, feed = build_measured_head(config, data, world)
    return _assemble(measured, data, built, feed, world, observer, None)


def _build_whole(config: TrialConfig, data: ImageSet, world: World, dtype: torch.dtype) -> tuple[BuiltModel, EpochFeed]:
    built = start_from_probe(build_model(config, data, world.device, dtype), config, data, world.device)
    feed = Feed(
        data, config.data, seed=config.seed, device=world.device, rank=world.rank, world=world.size, dtype=dtype
    )
    return built, feed


def _assemble(
    config: TrialConfig,
    data: ImageSet,
    built: BuiltModel,
    feed: EpochFeed,
    world: World,
    observer: Observer | None,
    micro_batch: int | None,
) -> Trainer:
    trainer = Trainer(config, data, built, feed, world, observer, _share(config, world, micro_batch))
    if world.device.type in PROBED:  # last, so that everything else already takes its memory
        trainer.micro_batch = _fit(trainer)
    return trainer


def _share(config: TrialConfig, world: World, most: int | None) -> int:
    """A rank's images of a full batch, complete groups where BatchNorm has groups; at most `most`."""
    unit = config.norm_batch or 1
    share = -(-config.data.batch_size // (unit * world.size)) * unit
    return min(share, most or share)


def _fit(trainer: Trainer) -> int:
    """The largest micro-batch up to the trainer's own that fits into memory; the model stays as it was."""
    model, world = trainer.model, trainer.world
    buffers = [buffer.clone() for buffer in model.buffers()]
    copies = 2 + (world.size > 1)  # Adam's two moments, DDP's buckets

    def forward(images: torch.Tensor) -> torch.Tensor:
        with trainer.accumulator.precision.autocast():
            logits: torch.Tensor = model(images)
        return logits

    attempt = memory_attempt(model, trainer.feed.shape, copies, forward)
    size = fit_micro_batch(trainer.micro_batch, attempt, world, trainer.config.norm_batch or 1)
    for buffer, kept in zip(model.buffers(), buffers, strict=True):
        buffer.copy_(kept)
    return size
