"""Part `steps`: hwcls's own training steps, launched one by one, compiled, in a CUDA graph, and both."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.on_gpu.inputs import MODELS, Setting, shared_images, trial_config
from benchmarks.on_gpu.part import Part
from benchmarks.on_gpu.peaks import peak_of
from benchmarks.on_gpu.window import Window, WindowObserver, time_steps
from hwcls.models.summary import count_flops
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World
from hwcls.training.trainer import Trainer

MODES = ("eager", "graph", "compiled", "compiled graph")


def set_mode(trainer: Trainer, mode: str) -> None:
    """Let a trainer that has not begun launch its steps so."""
    if "compiled" in mode:
        torch.compiler.reset()  # it stops to compile code that many models have in common
        trainer.accumulator.ddp = torch.compile(trainer.accumulator.ddp, dynamic=False)
    if "graph" not in mode:
        trainer.step.graph = None


def measure(item: str, setting: Setting) -> dict[str, Any]:
    """A row of `MODEL/MODE`."""
    name, mode = item.split("/")
    shape, model = MODELS[name]
    data, device = shared_images(shape, setting.images), setting.device
    observer = WindowObserver()
    trainer = build_trainer(trial_config(model, setting.batch), data, World(device=device), observer)
    set_mode(trainer, mode)
    window = Window.of(device, trainer.feed.steps + 5, setting.seconds)  # the last step of an epoch is one of its own
    time_steps(trainer, observer, window)
    graph, row = trainer.step.graph, window.row()
    work = 3 * count_flops(trainer.model, data.channels, data.image_size)  # the backward pass is two forward passes
    peak = peak_of(torch.cuda.get_device_name(device)) if setting.cuda else None
    return row | {
        "share_of_peak": row["images_per_second"] * work / peak if peak else None,
        "memory_gb": trainer.usage.memory / 1e9 if setting.cuda else None,
        "start_seconds": window.start_seconds,
        "captured": graph is not None and graph.captured,
        "gflop_per_image": work / 1e9,
        "micro_batch": trainer.micro_batch,
    }


PART = Part(
    items=tuple(f"{name}/{mode}" for mode in MODES for name in MODELS),  # what is quick to start comes first
    measure=measure,
    columns={
        "images_per_second": ("images/s", ",.0f"),
        "share_of_peak": ("of peak", ".1%"),
        "launches": ("launches", ",.0f"),
        "kernels": ("kernels", ",.0f"),
        "busy_share": ("busy", ".0%"),
        "step_ms": ("ms a step", ".2f"),
        "memory_gb": ("GB", ".1f"),
        "start_seconds": ("start s", ".1f"),
    },
    gpu_only=frozenset(f"{name}/{mode}" for mode in MODES[1:] for name in MODELS),
)
