"""Part `checks`: what a GPU must show once, because nothing else can."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.on_gpu.inputs import MODELS, Setting, image_set, random_images, trial_config
from benchmarks.on_gpu.part import Part
from benchmarks.on_gpu.window import Window, WindowObserver, time_steps
from hwcls import models
from hwcls.errors import UserError
from hwcls.training import checkpoint
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World
from hwcls.training.local import train
from hwcls.training.memory import free_memory, is_out_of_memory
from hwcls.training.snapshot import take_snapshot
from hwcls.training.trainer import Trainer

FRACTION, LARGE_BATCH = 0.05, 8192
LARGE_SIDE, SMALL_SIDE = 224, 32  # of the images that fill a GPU, and where there is none
MODEL = "resnet18"
FEW = 20_000  # images


def check_memory(setting: Setting) -> dict[str, Any]:
    """With a twentieth of the memory: the error's text, and the micro-batch before and after the pixels went up."""
    device = setting.device
    shape, model = MODELS["resnet18-small"]
    config = trial_config(model, LARGE_BATCH)
    torch.cuda.set_per_process_memory_fraction(FRACTION, device)
    try:
        found = _provoke_error(config.model, LARGE_BATCH, device)
        free_memory()
        data, sizes = random_images(shape, setting.images or FEW), []
        for _ in ("before the upload", "after it"):
            trainer = build_trainer(config, data, World(device=device))
            sizes.append(trainer.micro_batch)
            del trainer
        trainer = build_trainer(config, data, World(device=device))
        trainer.train_epoch(1)  # what was found to fit must be enough
        return {**found, "micro_batch_before_upload": sizes[0], "micro_batch_after_upload": sizes[1], "trains": True}
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


def _provoke_error(config: Any, batch: int, device: torch.device) -> dict[str, Any]:
    """What torch says where a pass of a batch takes too much memory, and whether hwcls knows what it means."""
    model = models.build(config, classes=200, channels=3, image_size=64).to(device)
    error_found: BaseException | None = None
    try:
        with torch.autocast(device.type, torch.bfloat16):
            model(torch.zeros(batch, 3, 64, 64, device=device)).sum().backward()
    except (RuntimeError, MemoryError) as error:
        error_found = error.with_traceback(None)  # which would keep the tensors alive
    if error_found is None:
        return {"error": None, "is_out_of_memory": None}
    kind, text = type(error_found).__name__, str(error_found).split("\n", 1)[0][:160]
    return {"error_text": f"{kind}: {text}", "is_out_of_memory": is_out_of_memory(error_found)}


def check_large_split(setting: Setting) -> dict[str, Any]:
    """Training on a split larger than the GPU: a file without content, so that no disk needs to hold it."""
    device = setting.device
    side = LARGE_SIDE if setting.cuda else SMALL_SIDE
    each = side * side * 3
    memory = torch.cuda.get_device_properties(device).total_memory if setting.cuda else 0
    count = setting.images or int(1.25 * memory) // each
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pixels")
        with open(path, "wb") as file:
            file.truncate(count * each)
        pixels = np.memmap(path, np.uint8, "r", shape=(count, side, side, 3))  # as a store has them
        labels = np.random.default_rng(0).integers(0, 10, count)
        data = image_set((side, 3, 10, count), pixels, labels, count - max(2, count // 1000))
        observer = WindowObserver()
        config = trial_config(MODELS[MODEL][1], setting.batch)
        trainer = build_trainer(config, data, World(device=device), observer)
        window = Window(device, 5, setting.seconds)
        time_steps(trainer, observer, window)
    gigabytes = {"split_gb": count * each / 1e9, "gpu_gb": memory / 1e9}
    return {**gigabytes, "images": count, "resident": trainer.feed.resident, **window.row()}


def check_repeat(setting: Setting) -> dict[str, Any]:
    """Three epochs, twice, and once resumed after the second: the largest difference of a weight, 0 where equal."""
    shape, model = MODELS[MODEL]
    data = random_images(shape, setting.images or FEW, patterned=True)
    config, device = trial_config(model, setting.batch, epochs=3), setting.device

    def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
        for _ in trainer.epochs():
            pass
        return trainer.weights()

    first, second = (weights(build_trainer(config, data, World(device=device))) for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(config, data, World(device=device))
        epochs = trainer.epochs()
        next(epochs), next(epochs)
        checkpoint.write(take_snapshot(trainer), Path(folder))
        resumed = build_trainer(config, data, World(device=device))
        checkpoint.load(resumed, Path(folder))
        third = weights(resumed)
    return {"again": _largest_difference(first, second), "resumed": _largest_difference(first, third)}


def _largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one)


def check_bf16(setting: Setting) -> dict[str, Any]:
    """The share of val whose predicted class differs between bfloat16 and float32, after three epochs."""
    device, found = setting.device, dict[str, Any]()
    optimizer = {"name": "adamw", "lr": 0.001}
    shape, model = MODELS[MODEL]
    for classes in (10, 200, 1000):
        data = random_images((*shape[:2], classes, shape[3]), setting.images or FEW, patterned=True)
        config = trial_config(model, setting.batch, epochs=3, optimizer=optimizer)
        trainer = build_trainer(config, data, World(device=device))
        accuracy = [record.metrics["val/accuracy"] for record in trainer.epochs()][-1]
        own = trainer.evaluate("val").scores.argmax(1)  # (n,)
        found["bf16"] = trainer.accumulator.precision.bf16
        trainer.accumulator.precision = replace(trainer.accumulator.precision, bf16=False)
        with full_precision():
            exact = trainer.evaluate("val").scores.argmax(1)  # (n,)
        found[f"differ_{classes}"] = float((own != exact).double().mean())
        found[f"accuracy_{classes}"] = accuracy
    return found


@contextmanager
def full_precision() -> Iterator[None]:
    """Within the block float32 is not rounded to TF32 on the way."""
    kept = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = kept


def check_checkpoint(setting: Setting) -> dict[str, Any]:
    """Seconds of a checkpoint of ResNet-18 with AdamW, and of a second one of the same best epoch."""
    shape, model = MODELS[MODEL]
    data, device = random_images(shape, setting.images or FEW), setting.device
    config = trial_config(model, setting.batch, optimizer={"name": "adamw", "lr": 0.001})
    trainer = build_trainer(config, data, World(device=device))
    next(trainer.epochs())
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(3):
            began = time.perf_counter()
            checkpoint.write(take_snapshot(trainer), Path(folder))
            seconds.append(time.perf_counter() - began)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return {"seconds": seconds[0], "seconds_again": min(seconds[1:]), "megabytes": size / 1e6}


def check_workers(setting: Setting) -> dict[str, Any]:
    """`workers: 2`: with one GPU one line that says so, with two or more a training."""
    config = trial_config({"name": "simple_cnn"}, 64, data={"name": "digits", "batch_size": 64}, epochs=1, workers=2)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HWCLS_CACHE"] = folder
        try:
            result = train(config, Path(folder, "trial"), lambda line: None)
        except UserError as error:
            return {"gpus": torch.cuda.device_count(), "one_line": "\n" not in str(error), "text": str(error)}
    return {"gpus": torch.cuda.device_count(), "text": result.status}


CHECKS: dict[str, Callable[[Setting], dict[str, Any]]] = {
    "memory": check_memory,
    "repeat": check_repeat,
    "checkpoint": check_checkpoint,
    "workers": check_workers,
    "bf16": check_bf16,
    "large_split": check_large_split,
}
PART = Part(
    items=tuple(CHECKS),
    measure=lambda item, setting: CHECKS[item](setting),
    gpu_only=frozenset({"memory", "workers", "bf16"}),
)
