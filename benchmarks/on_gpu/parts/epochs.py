"""Part `epochs`: complete epochs with both evaluations, and what is not training in them."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.on_gpu.inputs import MODELS, Setting, shared_images, trial_config
from benchmarks.on_gpu.part import Part
from hwcls.training import checkpoint
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World
from hwcls.training.local import SAVE_EVERY
from hwcls.training.snapshot import take_snapshot

FEWEST = 2  # epochs that count


def measure(item: str, setting: Setting) -> dict[str, Any]:
    """Epochs after a first one, for the seconds of a measurement; then one checkpoint, and the share it would have."""
    shape, model = MODELS[item]
    data, device = shared_images(shape, setting.images), setting.device
    trainer = build_trainer(trial_config(model, setting.batch), data, World(device=device))
    records, began = [], 0.0
    for record in trainer.epochs():
        if record.epoch > 1:
            records.append(record)
            if len(records) >= FEWEST and time.perf_counter() - began > setting.seconds:
                break
        began = began or time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        checkpoint.write(take_snapshot(trainer), Path(folder))
        saved = time.perf_counter() - start
    seconds, images = median(record.seconds for record in records), len(data.train)
    training = median(images / record.images_per_second for record in records)
    return {
        "epoch_seconds": seconds,
        "epochs_a_minute": 60 / seconds,
        "images_per_second": images / seconds,
        "evaluation_share": 1 - training / seconds,
        "checkpoint_seconds": saved,
        "checkpoint_share": saved / (SAVE_EVERY + saved),
    }


PART = Part(
    items=("cifar-resnet18", "simple_cnn", "resnet18", "resnet18-small"),
    measure=measure,
    columns={
        "epoch_seconds": ("epoch s", ".3f"),
        "epochs_a_minute": ("a minute", ".1f"),
        "images_per_second": ("images/s", ",.0f"),
        "evaluation_share": ("evaluation", ".1%"),
        "checkpoint_seconds": ("checkpoint s", ".2f"),
        "checkpoint_share": ("its share", ".1%"),
    },
)
