"""The training loss: cross-entropy with label smoothing, class weights and mixed labels."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from hwcls.data.loader import Batch


def balanced_weights(labels: np.ndarray, classes: int) -> Tensor:
    """(K,) float64: a class's weight is N / (K * its images), so that the mean over all N images is 1.

    As scikit-learn's `class_weight="balanced"`; a class without images gets N / K.
    """
    counts = np.bincount(labels, minlength=classes)
    return torch.from_numpy(len(labels) / (classes * np.maximum(counts, 1)))


class Loss:
    """The sum () of a batch's losses. Divided by the global batch's images, it is independent of the micro-batches.

    Args:
        smoothing: Of the labels (arXiv 1512.00567).
        class_weights: balanced: each image's loss times its class's `balanced_weights`.
        labels: (N,) of the training split.
        classes: How many, K.
        device, dtype: Of the logits.
    """

    def __init__(
        self,
        smoothing: float,
        class_weights: Literal["balanced"] | None,
        labels: np.ndarray,
        classes: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.smoothing = smoothing
        self.weights = balanced_weights(labels, classes).to(device, dtype) if class_weights else None  # (K,)

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """() from logits (B, K); mixed labels are weighted by their shares."""
        if batch.other is None or batch.share is None:
            if self.weights is None:
                return cross_entropy(logits, batch.labels, reduction="sum", label_smoothing=self.smoothing)
            return self._each(logits, batch.labels).sum()
        one, two = self._each(logits, batch.labels), self._each(logits, batch.other)  # (B,) each
        return (batch.share * one + (1 - batch.share) * two).sum()

    def _each(self, logits: Tensor, labels: Tensor) -> Tensor:
        losses = cross_entropy(logits, labels, reduction="none", label_smoothing=self.smoothing)  # (B,)
        return losses if self.weights is None else losses * self.weights[labels]
