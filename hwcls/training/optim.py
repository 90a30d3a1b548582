"""Optimizers and learning-rate schedules, built from their configs."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from hwcls.config.optim import (
    AdamConfig,
    AdamWConfig,
    CosineConfig,
    MetricConfig,
    OptimizerConfig,
    PlateauConfig,
    SchedulerConfig,
)


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """A fused optimizer over the trainable weights; norms and biases (one axis or none) are not decayed."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if isinstance(config, AdamConfig):
        return torch.optim.Adam(groups, lr=config.lr, fused=True)
    if isinstance(config, AdamWConfig):
        return torch.optim.AdamW(groups, lr=config.lr, fused=True)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov, fused=True)


class Schedule:
    """Sets the learning rate before every step: a linear warm-up, then what the config says."""

    def __init__(
        self, config: SchedulerConfig, optimizer: torch.optim.Optimizer, *, lr: float, epochs: int, metric: MetricConfig
    ) -> None:
        self.config, self.optimizer, self.base, self.epochs = config, optimizer, lr, epochs
        self.plateau = (
            ReduceLROnPlateau(
                optimizer,
                mode="max" if metric.goal == "maximize" else "min",
                factor=config.factor,
                patience=config.patience,
                min_lr=config.min_lr,
            )
            if isinstance(config, PlateauConfig)
            else None
        )

    @property
    def lr(self) -> float:
        """The learning rate that holds now."""
        return float(self.optimizer.param_groups[0]["lr"])

    def before_step(self, epoch: int, progress: float) -> None:
        """Set the rate for a step of `epoch` (from 1) that starts at `progress` in [0, 1) of it."""
        time = epoch - 1 + progress  # in epochs
        if time < self.config.warmup:
            self._set(self.base * (time + 1e-3) / self.config.warmup)
        elif isinstance(self.config, CosineConfig):
            share = (time - self.config.warmup) / max(1, self.epochs - self.config.warmup)
            low = self.config.min_lr
            self._set(low + (self.base - low) * (1 + math.cos(math.pi * share)) / 2)
        elif progress == 0 and self.config.warmup and epoch == self.config.warmup + 1:
            self._set(self.base)

    def after_epoch(self, epoch: int, value: float) -> None:
        """Tell a plateau the metric of an epoch; warm-up epochs do not count."""
        if self.plateau and epoch > self.config.warmup:
            self.plateau.step(value)

    def state(self) -> dict[str, object]:
        return dict(self.plateau.state_dict()) if self.plateau else {}

    def load_state(self, state: dict[str, object]) -> None:
        if self.plateau:
            self.plateau.load_state_dict(state)

    def _set(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr
