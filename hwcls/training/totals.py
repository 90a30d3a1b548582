"""The sums of an epoch: gathered on the device, added over the ranks and read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hwcls import metrics
from hwcls.training.distributed import World
from hwcls.training.evaluation import Evaluation

Array = np.ndarray[Any, Any]


class TrainingLoss:
    """The loss over the steps of an epoch on this rank, changed in place; nothing is read from the device.

    Attributes:
        sum: () float64.
        steps: () float64, so far.
        bad_steps: () float64, those after which `sum` is not finite; it stays so from the first such step on.
    """

    def __init__(self, device: torch.device) -> None:
        self._all = torch.zeros(3, dtype=torch.float64, device=device)
        self.sum, self.steps, self.bad_steps = self._all.unbind()

    def reset(self) -> None:
        """Begin an epoch."""
        self._all.zero_()

    def add(self, loss: torch.Tensor) -> None:
        """Add the summed loss () of the next step."""
        self.sum += loss
        self.steps += 1
        self.bad_steps += self.sum * 0 != 0  # a fifth of the launches of isfinite

    @property
    def first_bad_step(self) -> torch.Tensor:
        """() float64, the first step whose loss is not finite, from 1; 0 for none."""
        return (self.steps - self.bad_steps + 1) * (self.bad_steps > 0)


@dataclass(frozen=True)
class Totals:
    """An epoch's sums over all ranks, on the host."""

    losses: Array  # (2,), sums over the images: training, validation
    train_confusion: Array  # (K, K) int64
    val_confusion: Array  # (K, K) int64
    bad_steps: Array  # (ranks,), the first step of each whose loss is not finite, from 1; 0 for none

    def metrics(self, trained: int, validated: int) -> dict[str, float]:
        """An epoch's metrics, from the numbers of images that the losses are of."""
        return {
            "train/loss": float(self.losses[0]) / trained,
            "train/accuracy": float(metrics.accuracy(self.train_confusion)),
            "val/loss": float(self.losses[1]) / validated,
            "val/accuracy": float(metrics.accuracy(self.val_confusion)),
            "val/macro_f1": float(metrics.macro_f1(self.val_confusion)),
        }


def read_totals(training: TrainingLoss, train: Evaluation, val: Evaluation, world: World) -> Totals:
    """Add up over the ranks and read: the one device sync of an epoch."""
    bad = torch.zeros(world.size, dtype=torch.float64, device=world.device)
    bad[world.rank] = training.first_bad_step
    confusions = [train.confusion.double().flatten(), val.confusion.double().flatten()]
    sums = torch.cat([training.sum.view(1), val.loss.view(1), *confusions, bad])
    host = world.sum(sums).cpu().numpy()
    classes = len(val.confusion)
    on_train, on_val = host[2 : -world.size].reshape(2, classes, classes).astype(np.int64)
    return Totals(host[:2], on_train, on_val, host[-world.size :])
