"""What may look at a training while it runs: gradients before clipping, the state after an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from hwcls.tracking.records import EpochRecord
    from hwcls.training.trainer import Trainer


class Observer(Protocol):
    """Looks on and keeps what it saw as arrays; one for each rank, picklable before the training starts.

    It changes nothing: a training with an observer gives the weights of one without.
    """

    def before_clip(self, trainer: Trainer, epoch: int) -> None:
        """Called on every rank in the last step of an epoch, after its last backward and before clipping.

        Gradients are whole: of all ranks and all micro-batches. It must read no tensor's value on the host, so that
        the one device sync of an epoch stays the only one.
        """

    def after_epoch(self, trainer: Trainer, record: EpochRecord) -> None:
        """Called on rank 0 after an epoch's validation, before its record is yielded."""

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """What inspection.npz holds, by name; nothing yet: no file."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep, as tensors, numbers, lists and dictionaries of those."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`'s result."""
