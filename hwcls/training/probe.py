"""The head that a fine-tuning starts with: trained on the frozen backbone's features first, by a fixed recipe.

Linear probing, then fine-tuning (arXiv 2202.10054): a head that fits the pretrained features does not spoil them in the
first steps of the backbone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from hwcls.config.data import AugmentConfig
from hwcls.config.optim import AdamWConfig
from hwcls.config.trial import TrialConfig
from hwcls.data.catalog import cache_folder
from hwcls.data.disk import make_cache_folder
from hwcls.data.imageset import ImageSet
from hwcls.errors import UserError
from hwcls.files import write_with
from hwcls.training import watchdog
from hwcls.training.built_model import BuiltModel
from hwcls.training.distributed import World
from hwcls.training.errors import NotFiniteError
from hwcls.training.features.cache import open_features
from hwcls.training.features.extract import compute_features
from hwcls.training.features.head import build_head
from hwcls.training.features.probe_recipe import BATCH, RECIPE, probe_trial
from hwcls.training.trainer import Trainer


@dataclass(frozen=True)
class ProbedHead:
    """A trained head: its weights by their names in the whole model, on the CPU, and how they were found."""

    weights: Mapping[str, Tensor]
    facts: Mapping[str, Any]  # lr, weight_decay, epoch, the trial's metric, seconds


def probe_head(config: TrialConfig, data: ImageSet, device: torch.device, cache: Path) -> ProbedHead | None:
    """The head that a trial starts with, from the cache or trained now; None where it starts with none.

    It is trained once per head, features, images of train and val, loss, metric and seed; processes that need the same
    one wait for the first, after they have computed its features together. torch's generators keep their state.

    Raises:
        UserError: The features cannot be computed or kept, or no loss of the recipe is finite.
    """
    trial = probe_trial(config)
    if trial is None:
        return None
    # splits of its own: the features that a GPU keeps of them are gone when the fine-tuning begins
    data = replace(data, augment=AugmentConfig(), train=replace(data.train), val=replace(data.val))
    compute_features(trial, data, device)
    path = cache / "probes" / f"{_key(trial, data)}.safetensors"
    if not path.is_file():
        make_cache_folder(path.parent)
        with watchdog.waiting_for(FileLock(f"{path}.lock")):
            if not path.is_file():
                found = _train(trial, data, device)
                metadata = {"facts": json.dumps(found.facts)}
                write_with(path, lambda file: file.write(save(dict(found.weights), metadata)))
    with safe_open(path, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        return ProbedHead(weights, json.loads(file.metadata()["facts"]))


def start_from_probe(built: BuiltModel, config: TrialConfig, data: ImageSet, device: torch.device) -> BuiltModel:
    """The model of a trial, with the head of its probe where it starts with one; raises UserError as `probe_head`."""
    found = probe_head(config, data, device, cache_folder())
    if found is None:
        return built
    unknown = built.model.load_state_dict(found.weights, strict=False).unexpected_keys
    assert not unknown, f"the head has its names in the whole model: {unknown}"
    return replace(built, probe=found.facts, pretrain_seconds=found.facts["seconds"])


def _key(trial: TrialConfig, data: ImageSet) -> str:
    """A digest of everything the head depends on."""
    settings = trial.model_dump(mode="json", include={"label_smoothing", "class_weights", "metric", "seed"})
    head = trial.model.model_dump(mode="json", include={"head"})
    features = open_features(trial, data).folder.name
    depends = [RECIPE, trial.epochs, BATCH, settings, head, features]
    digest = hashlib.blake2b(json.dumps(depends).encode(), digest_size=12)
    for split in (data.train, data.val):
        digest.update(np.ascontiguousarray(split.rows).tobytes())
        digest.update(np.ascontiguousarray(split.labels).tobytes())
    return digest.hexdigest()


def _train(trial: TrialConfig, data: ImageSet, device: torch.device) -> ProbedHead:
    """The best head of the recipe on val."""
    started, best, name = time.perf_counter(), None, trial.metric.name
    for lr, weight_decay in RECIPE:
        tried = trial.model_copy(update={"optimizer": AdamWConfig(lr=lr, weight_decay=weight_decay)})
        with (
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
            contextlib.suppress(NotFiniteError),
        ):
            built, feed = build_head(tried, data, World(device=device))
            trainer = Trainer(tried, data, built, feed, World(device=device), None, BATCH)
            for _ in trainer.epochs():
                pass
            found = trainer.history.best
            assert found is not None, "there was an epoch"
            if best is None or trial.metric.better(found[name], best.facts[name]):
                weights = {key: one.cpu().contiguous() for key, one in trainer.history.best_weights.items()}
                best = ProbedHead(weights, {"lr": lr, "weight_decay": weight_decay, **found})
    if best is None:
        raise UserError("no loss of the probe is finite", where="model.start", remedy="set it to random")
    return replace(best, facts={**best.facts, "seconds": round(time.perf_counter() - started, 3)})
