"""Profiles a training step: time, memory, the slowest operators, and a trace of every operator."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from hwcls import files, models
from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import ImageSet
from hwcls.data.loader import EpochFeed
from hwcls.inspection.load_trained import normalise_pixels
from hwcls.temporary import temporary_folder
from hwcls.tracking.records import EpochRecord
from hwcls.training.build import build_measured_trainer
from hwcls.training.cost import static_bytes
from hwcls.training.distributed import World
from hwcls.training.latency import image_seconds, median_seconds, now
from hwcls.training.observer import Observer
from hwcls.training.step import graph
from hwcls.training.step.ghost_batches import GroupFeed
from hwcls.training.trainer import Trainer

TRACED = 5  # steps of a trace
SLOWEST = 5
BATCH = 128  # of the inference timed in batches


class _StepLimitReached(Exception):
    """The requested number of steps is done."""


class StepTimer(Observer):
    """Times each step, its augmentation included, and stops the training after `limit` steps.

    Args:
        device: It is synchronised around each step.
        inner: The hooks whose time is part of a step, as in a trial.
    """

    def __init__(self, device: torch.device, inner: Observer | None = None) -> None:
        self.device, self.inner = device, inner or Observer()
        self.seconds: list[float] = []
        self.limit = math.inf
        self.started = 0.0

    def before_step(self) -> None:
        self.started = now(self.device)

    def before_clip(self, model: nn.Module, rank: int, epoch: int) -> None:
        self.inner.before_clip(model, rank, epoch)

    def after_step(self) -> None:
        self.seconds.append(now(self.device) - self.started)
        if len(self.seconds) >= self.limit:
            raise _StepLimitReached

    def after_epoch(self, model: nn.Module, feed: EpochFeed | GroupFeed, record: EpochRecord) -> None:
        self.inner.after_epoch(model, feed, record)


class TimedTraining:
    """A training that is timed step by step, or run for complete epochs.

    Attributes:
        peak: The most bytes of tensors at once on a GPU so far; 0 on a CPU.
    """

    def __init__(
        self, config: TrialConfig, data: ImageSet, world: World | None = None, observer: Observer | None = None
    ) -> None:
        world = world or World()
        self.device, self.peak = world.device, 0
        self.timer = StepTimer(world.device, observer)
        self.trainer = build_measured_trainer(config, data, world, self.timer)

    def warm_up(self) -> None:
        """Train until a step takes as long as those that follow: caches are filled, and on a GPU a step is captured."""
        self.run(1 if self.trainer.step.graph is None else graph.WARM_UP + 1)

    def run(self, steps: int) -> list[float]:
        """Train for `steps` steps, starting over at the end of the training if need be: seconds of each."""
        self.timer.seconds, self.timer.limit = [], steps
        with contextlib.suppress(_StepLimitReached):
            while True:
                self._next_epoch()
        self._update_peak()
        return self.timer.seconds

    def run_epochs(self, count: int) -> int:
        """Train and evaluate complete epochs; returns their steps."""
        self.timer.seconds, self.timer.limit = [], math.inf
        for _ in range(count):
            self._next_epoch()
        self._update_peak()
        return len(self.timer.seconds)

    def _update_peak(self) -> None:
        if self.device.type == "cuda":
            self.peak = max(self.peak, torch.cuda.max_memory_allocated(self.device))

    def _next_epoch(self) -> None:
        trainer = self.trainer
        first = trainer.config.model.frozen_epochs  # all of the model is trained after these
        if not first <= trainer.epoch < trainer.config.epochs:
            trainer.epoch = first
        next(trainer.epochs())


@dataclass(frozen=True)
class Profile:
    """One model's cost on this machine."""

    parameters: int
    batch_size: int
    step_ms: float  # median, augmentation included
    images_per_second: float  # of training
    memory_mb: float  # peak, 2**20 bytes; see `memory`
    memory: str  # what memory_mb counts
    inference_ms: float  # one image at a time, median
    inference_batch_ms: float  # an image's share of a batch
    threads: int  # of the CPU
    slowest: list[dict[str, Any]]  # operators: ms and calls for each traced step, share of all
    trace: str  # the Chrome trace's file


def profile_training(
    config: TrialConfig, data: ImageSet, trace: Path, *, steps: int = 20, epochs: int | None = None
) -> Profile:
    """Train some steps: first timed, without the profiler, then traced.

    Args:
        trace: The file for the Chrome trace (chrome://tracing, ui.perfetto.dev).
        steps: Timed steps.
        epochs: Trace so many complete epochs, training and evaluation, instead of a few steps.

    Raises:
        UserError: The model cannot be built.
    """
    torch.set_num_threads(config.threads)
    training = TimedTraining(config, data)
    trainer = training.trainer
    device, batch = trainer.world.device, config.data.batch_size
    training.warm_up()
    step = median(training.run(steps))
    static = static_bytes(trainer)  # gradients are allocated in each step
    with _profiler(device) as profiler:
        traced = training.run_epochs(epochs) if epochs else len(training.run(min(TRACED, steps)))
    peak = _write_trace(profiler, trace)
    if device.type == "cuda":
        memory, counted = training.peak, "tensors on the GPU, at their peak"
    else:
        memory, counted = static + peak, "tensors at their peak: weights, optimizer state and what a step allocates"
    one, many = _inference(trainer, data)
    return Profile(
        parameters=models.count_parameters(trainer.built.whole),
        batch_size=batch,
        step_ms=1000 * step,
        images_per_second=min(batch, len(data.train)) / step,
        memory_mb=memory / 2**20,
        memory=counted,
        inference_ms=1000 * one,
        inference_batch_ms=1000 * many,
        threads=config.threads,
        slowest=_slowest_operators(profiler, traced, device),
        trace=str(trace),
    )


def _profiler(device: torch.device) -> Any:
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    return profile(activities=activities, profile_memory=True)


def _write_trace(profiler: Any, path: Path) -> int:
    """Write the Chrome trace, complete or not at all; returns the peak bytes of its CPU tensors."""
    with temporary_folder() as folder:
        temporary = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(temporary))
        content = temporary.read_bytes()
    files.write_with(path, lambda file: file.write(content))
    found = [event for event in json.loads(content)["traceEvents"] if event.get("name") == "[memory]"]
    on_cpu = [event for event in found if event["args"].get("Device Type") == 0]
    # the trace's own total includes what earlier profiles in this process never saw freed
    live: dict[int, int] = {}  # by address: bytes
    now = peak = 0
    for args in (event["args"] for event in sorted(on_cpu, key=lambda event: float(event["ts"]))):
        now -= live.pop(args["Addr"], 0)
        if args["Bytes"] > 0:
            live[args["Addr"]] = args["Bytes"]
            now += args["Bytes"]
        peak = max(peak, now)
    return peak


def _slowest_operators(profiler: Any, steps: int, device: torch.device) -> list[dict[str, Any]]:
    """The operators with the most self time, on the GPU where there is one."""

    def own(event: Any) -> float:  # microseconds
        return float(event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total)

    events = sorted(profiler.key_averages(), key=own, reverse=True)
    total = sum(own(event) for event in events) or 1.0
    return [
        {
            "operator": event.key.removeprefix("aten::"),
            "ms_per_step": round(own(event) / 1000 / steps, 4),
            "share": round(own(event) / total, 4),
            "calls_per_step": round(event.count / steps, 1),
        }
        for event in events[:SLOWEST]
    ]


@torch.no_grad()
def _inference(trainer: Trainer, data: ImageSet) -> tuple[float, float]:
    """Seconds of an image: alone, and as its share of a batch; medians, the image already on the device."""
    model, device = trainer.built.whole.eval(), trainer.world.device
    images = normalise_pixels(data, data.val.images[data.val.rows[:BATCH]], device)
    precision = trainer.accumulator.precision
    with precision.autocast():
        batch = median_seconds(lambda: model(images), device, 3)
    return image_seconds(model, images[:1], precision), batch / len(images)
