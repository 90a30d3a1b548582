"""Hooks into a training: before clipping, after each step, after each epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from hwcls.data.loader import EpochFeed
from hwcls.tracking.records import EpochRecord
from hwcls.training.step.ghost_batches import GroupFeed


class Observer:
    """Base class: every hook does nothing. One for each rank, picklable before the training starts.

    An observer changes nothing: a training with it gives the same weights as one without.
    """

    def before_step(self) -> None:
        """Called on every rank before the images of a step are made."""

    def before_clip(self, model: nn.Module, rank: int, epoch: int) -> None:
        """Called on every rank in the last step of an epoch, after its last backward pass and before clipping.

        Gradients are complete: of all ranks and all micro-batches. It must read no tensor's value on the host, so that
        an epoch has only one device sync.
        """

    def after_step(self) -> None:
        """Called on every rank after each optimizer step."""

    def after_epoch(self, model: nn.Module, feed: EpochFeed | GroupFeed, record: EpochRecord) -> None:
        """Called on rank 0 after an epoch's validation, before its record is yielded."""

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """The content of inspection.npz, by name; without any the file is not written."""
        return {}

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep: tensors, numbers, lists and dictionaries of those."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from `state`'s result."""
