"""Complete short trials in a warm process, as a worker of a sweep trains them one after the other."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import ImageSet
from hwcls.training import checkpoint
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World
from hwcls.training.observer import Observer

EPOCHS = 3


@dataclass
class StepTimes(Observer):
    """Notes when the first step of a trial began and when the last one ended."""

    device: torch.device
    steps: int = 0  # of the trial
    first: float = 0.0
    last: float = 0.0
    made: int = field(default=0, init=False)

    def after_step(self) -> None:
        """Waits for the device after the first and the last step only."""
        self.made += 1
        if self.made in (1, self.steps):
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self.last = time.perf_counter()
            self.first = self.first or self.last


@dataclass(frozen=True)
class TrialTimes:
    """Points in time of one trial, as time.perf_counter() has them."""

    began: float
    built: float
    first_step: float  # its end
    last_step: float
    evaluated: float
    written: float


def train_trial(config: TrialConfig, data: ImageSet, device: torch.device, folder: Path) -> TrialTimes:
    """Train a trial to its end and write its outputs."""
    began, observer = time.perf_counter(), StepTimes(device)
    trainer = build_trainer(config, data, World(device=device), observer)
    observer.steps = config.epochs * trainer.feed.steps
    built = time.perf_counter()
    for _ in trainer.epochs():
        pass
    evaluated = time.perf_counter()
    checkpoint.write_outputs(trainer, folder)
    return TrialTimes(began, built, observer.first, observer.last, evaluated, time.perf_counter())
