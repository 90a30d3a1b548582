"""One pass over a split in evaluation mode."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from hwcls.data.imageset import ImageSet
from hwcls.data.loader import Batch, EpochFeed, SplitName
from hwcls.format import format_count
from hwcls.training import watchdog
from hwcls.training.memory import free_memory, is_out_of_memory
from hwcls.training.step.ghost_batches import GroupFeed
from hwcls.training.step.micro_batch import halve_micro_batch
from hwcls.training.step.precision import Precision, upcast

_log = logging.getLogger(__name__)

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


class Evaluator:
    """Evaluates splits in batches that fit into memory: where it runs out they are halved, for good.

    A logit may differ in its last bits in a batch of another size: libraries choose their kernels by it.

    Args:
        feed: Of the images.
        classes: K.
        precision: Of the forward pass.
    """

    def __init__(self, feed: EpochFeed | GroupFeed, classes: int, precision: Precision) -> None:
        self.feed, self.classes, self.precision = feed, classes, precision
        self.most: int | None = None  # images at once, once memory has run out

    def evaluate(self, model: nn.Module, split: SplitName, micro_batch: int, limit: int | None = None) -> Evaluation:
        """Score this rank's share of a split, or of a fixed sample of `limit` images, unaugmented.

        Raises UserError where memory does not hold a single image.
        """
        device = next(model.parameters()).device
        while True:
            size = self.most or self.feed.evaluation_size(micro_batch)
            batches = self.feed.evaluate(split, size, limit)
            try:
                return score_batches(model, batches, self.classes, device, self.precision)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            del batches
            free_memory()  # outside the handler, whose error would keep the tensors alive
            self.most = halve_micro_batch(size)
            images = format_count(self.most, "image")
            _log.info("out of memory: %s is evaluated in batches of %s", split, images)


def train_sample_size(data: ImageSet) -> int:
    """How many training images train/accuracy is measured on after each epoch, always the same ones.

    As many as val has, within FEWEST and MOST: both metrics are then equally precise, and most images need no scoring.
    """
    return min(len(data.train), max(FEWEST, min(MOST, len(data.val))))
