"""One pass over a split in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from hwcls.data.imageset import ImageSet
from hwcls.data.loader import Batch
from hwcls.training import watchdog
from hwcls.training.step.precision import Precision, upcast

FEWEST, MOST = 1_000, 10_000  # training images on which train/accuracy is measured


@dataclass
class Evaluation:
    """Results of a rank on its share of a split, n images; nothing has been read from the device."""

    loss: torch.Tensor  # () sum over this rank's images, float64
    confusion: torch.Tensor  # (K, K) int64, rows true, columns predicted, this rank's images
    scores: torch.Tensor  # (n, K) probabilities of this rank's images
    index: torch.Tensor  # (n,) their positions in the split


@torch.no_grad()
def score_batches(
    model: nn.Module, batches: Iterable[Batch], classes: int, device: torch.device, precision: Precision
) -> Evaluation:
    """Score unaugmented batches; leaves the model in evaluation mode. The loss is cross-entropy without smoothing."""
    model.eval()
    loss = torch.zeros((), dtype=torch.float64, device=device)
    confusion = torch.zeros(classes * classes, dtype=torch.int64, device=device)
    scores, index = [torch.zeros(0, classes, device=device)], [torch.zeros(0, dtype=torch.int64, device=device)]
    for batch in batches:
        with precision.autocast():
            logits = model(batch.images)
        logits = upcast(logits)  # (B, K)
        loss += F.cross_entropy(logits, batch.labels, reduction="sum")
        unknown = logits.isnan().any(1)  # no prediction, hence wrong: as metrics.predicted_classes
        guess = torch.where(unknown, (batch.labels + 1) % classes, logits.argmax(1))  # (B,)
        cell = batch.labels * classes + guess
        confusion.scatter_add_(0, cell, torch.ones_like(cell))  # bincount would sync with the device
        scores.append(logits.softmax(1).float())  # (B, K)
        index.append(batch.index)
        watchdog.reset_timer()
    return Evaluation(loss, confusion.view(classes, classes), torch.cat(scores), torch.cat(index))


def train_sample_size(data: ImageSet) -> int:
    """How many training images train/accuracy is measured on after each epoch, always the same ones.

    As many as val has, within FEWEST and MOST: both metrics are then equally precise, and most images need no scoring.
    """
    return min(len(data.train), max(FEWEST, min(MOST, len(data.val))))
