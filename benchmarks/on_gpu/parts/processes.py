"""Part `processes`: 1, 2, 4 and 8 processes side by side on one GPU, each of which trains SimpleCNN."""

from __future__ import annotations

import tempfile
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from benchmarks.on_gpu.inputs import MODELS, Setting, random_images, trial_config
from benchmarks.on_gpu.part import Part
from benchmarks.on_gpu.trials import EPOCHS, train_trial
from benchmarks.on_gpu.window import Window, WindowObserver, time_steps
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World

MODEL = "simple_cnn"


def measure(item: str, setting: Setting) -> dict[str, Any]:
    """Images per second while all train, then trials of EPOCHS epochs per hour, evaluations and outputs included."""
    context, pipes, processes = get_context("spawn"), [], []
    for _ in range(int(item)):
        here, there = context.Pipe()
        processes.append(context.Process(target=_serve, args=(setting, 1 / int(item), there)))
        processes[-1].start()
        there.close()
        pipes.append(here)
    for pipe in pipes:
        pipe.recv()  # it is warm
    speeds = _at_once(pipes)
    rates = _at_once(pipes)
    for process in processes:
        process.join()
    return {"images_per_second": sum(speeds), "trials_per_hour": 3600 * sum(rates)}


def _at_once(pipes: list[Any]) -> list[float]:
    """Let all processes begin their next task together; their results."""
    for pipe in pipes:
        pipe.send("go")
    return [pipe.recv() for pipe in pipes]


def _serve(setting: Setting, share: float, pipe: Connection) -> None:
    """One process: a window of steps, then as many trials as take about as long, each when it is told to begin."""
    torch.set_num_threads(1)
    shape, model = MODELS[MODEL]
    data, device = random_images(shape, setting.images), setting.device
    if setting.cuda:
        torch.cuda.set_per_process_memory_fraction(share, device)
    trial = trial_config(model, setting.batch, epochs=EPOCHS)
    with tempfile.TemporaryDirectory() as folder:
        train_trial(trial, data, device, Path(folder))
        pipe.send("warm")
        pipe.recv()
        observer = WindowObserver()
        window = Window(device, 5, setting.seconds)
        trainer = build_trainer(trial_config(model, setting.batch), data, World(device=device), observer)
        time_steps(trainer, observer, window)
        pipe.send(window.images / window.elapsed)
        pipe.recv()
        began, trials = time.perf_counter(), 0
        while not trials or time.perf_counter() - began < setting.seconds:
            train_trial(trial, data, device, Path(folder))
            trials += 1
        pipe.send(trials / (time.perf_counter() - began))


PART = Part(
    items=("1", "2", "4", "8"),
    measure=measure,
    columns={"images_per_second": ("images/s", ",.0f"), "trials_per_hour": ("trials/h", ",.0f")},
)
