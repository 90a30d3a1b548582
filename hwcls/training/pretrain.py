"""An autoencoder trained once on a share of the training images; trials that start from its encoder share it."""

from __future__ import annotations

import hashlib
import json
import math
import time
from pathlib import Path
from typing import cast

import numpy as np
import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from hwcls.config.model import ModelFamily, PretrainConfig
from hwcls.config.trial import TrialConfig
from hwcls.data.augment.apply import Normalise, to_pixels
from hwcls.data.imageset import ImageSet
from hwcls.data.splits import random_permutation
from hwcls.errors import UserError
from hwcls.files import write_with
from hwcls.models.memory_format import to_channels_last
from hwcls.training import watchdog
from hwcls.training.memory import free_memory, is_out_of_memory
from hwcls.training.step.micro_batch import halve_micro_batch

BATCH = 128
LEARNING_RATE = 1e-3
PICTURES = 8  # of val, kept with their reconstructions
STREAM = 11  # of the seed, for the choice of images and their order


def encoder_weights(config: TrialConfig, data: ImageSet, device: torch.device, cache: Path) -> dict[str, Tensor]:
    """The weights for `model.encoder` of an AlexNet with `pretrain`, on the CPU; trained on first use.

    Raises ValueError where the model has no `pretrain`, and UserError as `autoencoder` does.
    """
    encoder = cast(nn.Module, autoencoder(config, data, device, cache).encoder)
    return {name: value.cpu() for name, value in encoder.state_dict().items()}


def autoencoder(config: TrialConfig, data: ImageSet, device: torch.device, cache: Path) -> nn.Module:
    """The pretrained autoencoder of a trial, on `device` in evaluation mode.

    It maps normalised images (B, C, S, S) to their reconstructions. It is trained without augmentation on a share of
    `data.train`, never on val or test, once per data, width, share, epochs and seed, and kept in `cache`; processes
    that need the same one wait for the first. torch's generators keep their state. Raises UserError where the images
    are too small, not even one fits into memory, or the loss is not finite.
    """
    model, _ = _configs(config)
    path = _path(config, data, cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    with watchdog.waiting_for(FileLock(f"{path}.lock")):
        if not path.is_file():
            started = time.perf_counter()
            trained = _train(config, data, device)
            weights = {name: value.cpu().contiguous() for name, value in trained.state_dict().items()}
            metadata = {"seconds": f"{time.perf_counter() - started:.3f}"}
            write_with(path, lambda file: file.write(save(weights, metadata)))
    with torch.random.fork_rng(devices=[]):
        made: nn.Module = model.build_autoencoder(channels=data.channels, image_size=data.image_size)
    made.load_state_dict(load_file(path))
    return made.to(device).eval()


def pretrain_seconds(config: TrialConfig, data: ImageSet, cache: Path) -> float | None:
    """How long the autoencoder in `cache` was trained; None where it was not recorded."""
    try:
        with safe_open(_path(config, data, cache), framework="np") as file:
            return float((file.metadata() or {})["seconds"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


@torch.no_grad()
def reconstructions(config: TrialConfig, data: ImageSet, device: torch.device, cache: Path) -> dict[str, np.ndarray]:
    """The first images of val and their reconstructions, for inspection.npz.

    `reconstructions/input` and `reconstructions/output`, each (P, S, S, C) uint8 with P at most PICTURES.
    """
    pixels = torch.from_numpy(data.val.images[data.val.rows[:PICTURES]])  # (P, S', S', C)
    normalise = Normalise(data.mean, data.std, data.image_size, device, torch.float32)
    images = normalise(pixels.to(device)).permute(0, 3, 1, 2)  # (P, C, S, S)
    made = autoencoder(config, data, device, cache)(images)
    sheets = {"input": images, "output": made}
    return {f"reconstructions/{name}": to_pixels(sheet, data.mean, data.std) for name, sheet in sheets.items()}


def pretrain_rows(config: TrialConfig, data: ImageSet) -> np.ndarray:
    """The rows of `data.train.images` to pretrain on: a seeded share; a smaller share is a subset of a larger one."""
    _, pretrain = _configs(config)
    order = random_permutation(len(data.train), config.seed, STREAM)
    rows: np.ndarray = data.train.rows[order[: max(1, round(pretrain.share * len(order)))]]
    return rows


def _configs(config: TrialConfig) -> tuple[ModelFamily, PretrainConfig]:
    pretrain = config.model.encoder_pretraining
    if pretrain is None:
        raise ValueError("the model has no encoder to pretrain")
    return config.model, pretrain


def _path(config: TrialConfig, data: ImageSet, cache: Path) -> Path:
    return cache / "autoencoders" / f"{_key(config, data)}.safetensors"


def _key(config: TrialConfig, data: ImageSet) -> str:
    """A digest of everything the result depends on: the images, the model and the training."""
    model, pretrain = _configs(config)
    images = [data.store, data.name, data.image_size, data.channels, data.mean, data.std, len(data.train)]
    settings = [*model.autoencoder_settings(), pretrain.share, pretrain.epochs, config.seed, BATCH, LEARNING_RATE]
    digest = hashlib.blake2b(json.dumps([images, settings]).encode(), digest_size=12)
    digest.update(np.ascontiguousarray(data.train.rows).tobytes())
    return digest.hexdigest()


def _train(config: TrialConfig, data: ImageSet, device: torch.device) -> nn.Module:
    """Minimise the squared error of reconstructed pixels with Adam for `pretrain.epochs`."""
    (model, pretrain), seed, micro_batch = _configs(config), config.seed, BATCH
    rows = pretrain_rows(config, data)
    normalise = Normalise(data.mean, data.std, data.image_size, device, torch.float32)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        net: nn.Module = model.build_autoencoder(channels=data.channels, image_size=data.image_size)
        to_channels_last(net, device).train()
        optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, fused=True)
        loss = torch.zeros(())
        for epoch in range(pretrain.epochs):
            order = rows[random_permutation(len(rows), seed, STREAM, epoch)]
            for start in range(0, len(order), BATCH):
                pixels = torch.from_numpy(data.train.images[np.sort(order[start : start + BATCH])])
                images = normalise(pixels.to(device)).permute(0, 3, 1, 2)  # (b, C, S, S)
                while (found := _gradients(net, images, micro_batch)) is None:
                    free_memory()
                    micro_batch = halve_micro_batch(micro_batch)
                loss = found
                optimizer.step()
                watchdog.reset_timer()
    if not math.isfinite(loss.item()):
        raise UserError("the autoencoder's loss is not finite", where="model.pretrain", remedy="set another seed")
    return net


def _gradients(net: nn.Module, images: Tensor, micro_batch: int) -> Tensor | None:
    """Accumulate the gradients of the squared error of `images` (b, C, S, S); returns the error (), None if memory ran
    out."""
    net.zero_grad()
    total = torch.zeros((), device=images.device)
    try:
        for part in images.tensor_split(-(-len(images) // micro_batch)):
            loss = mse_loss(net(part), part) * (len(part) / len(images))
            torch.autograd.backward([loss])
            total += loss.detach()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None
    return total
