"""What a training keeps of its epochs: their records, the best epoch, confusion matrices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hwcls.config.optim import MetricConfig
from hwcls.tracking.records import EpochRecord

Array = np.ndarray[Any, Any]


class History:
    """Grows by one record per epoch and keeps weights and scores of the best epoch.

    Attributes:
        records: Lines of metrics.jsonl.
        best: {"epoch": ..., metric: ...}, None before the first epoch.
        best_weights: The model's state at that epoch.
        best_scores: (N, K) float16, probabilities of val at that epoch.
        confusions: (K, K) of val, by epoch: the first, powers of two, the best and the last.
    """

    def __init__(self, metric: MetricConfig) -> None:
        self.metric = metric
        self.records: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.best_weights: dict[str, torch.Tensor] = {}
        self.best_scores: Array | None = None
        self.confusions: dict[int, Array] = {}

    def add(
        self,
        record: EpochRecord,
        confusion: Array,
        weights: Callable[[], dict[str, torch.Tensor]],
        scores: Callable[[], Array],
    ) -> None:
        """Add an epoch; `weights` and `scores` are called only for a new best."""
        name = self.metric.name
        value = record.metrics[name]
        if self.best is None or math.isnan(self.best[name]) or self.metric.better(value, self.best[name]):
            self.best = {"epoch": record.epoch, name: value}
            self.best_weights, self.best_scores = weights(), scores()
        self.confusions[record.epoch] = confusion
        kept = {self.best["epoch"], record.epoch}
        self.confusions = {e: c for e, c in self.confusions.items() if e & (e - 1) == 0 or e in kept}
        self.records.append(record.to_dict())

    def load(self, state: dict[str, Any]) -> None:
        """Resume from a checkpoint's state."""
        self.records, self.best = list(state["history"]), state["best"]
        self.best_weights, self.best_scores = state.get("best_weights", {}), state.get("best_scores")
        self.confusions = dict(state["confusions"])
