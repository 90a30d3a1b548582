"""What a checkpoint holds of a trainer at one moment: the trainer may go on while it is written."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwcls.training.memory import free_memory, is_out_of_memory
from hwcls.training.trainer import Trainer

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Snapshot:
    """Copies of what training changes in place; what it replaces by something new is referred to."""

    epoch: int
    about: dict[str, Any]  # config and inputs, for the metadata of weights
    state: dict[str, Any] | None  # of the trainer; None after the last epoch: there is nothing to resume
    last: dict[str, Tensor] | None  # the latest weights, where they are kept
    best: int | None  # the best epoch, None before the first
    best_weights: dict[str, Tensor]
    predictions: dict[str, Array]  # of predictions.npz
    confusions: dict[int, Array]  # (K, K) each, by epoch
    inspection: dict[str, Array]  # of inspection.npz
    copied: torch.cuda.Event | None = None  # on a GPU: when the copies are complete


def take_snapshot(trainer: Trainer, *, state: bool = True, last: bool = False, whole: bool = False) -> Snapshot:
    """Copy on the trainer's device, without waiting for it; where its memory is full, to the host.

    Args:
        trainer: Between two epochs.
        state: Whether the trainer's state is needed.
        last: Whether the latest weights are.
        whole: Whether weights include those of a frozen backbone.
    """
    history, device = trainer.history, trainer.world.device

    def kept(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return trainer.built.complete(weights) if whole else weights

    resumable = state and trainer.epoch < trainer.config.epochs
    return Snapshot(
        trainer.epoch,
        {"config": trainer.config.to_dict(), "inputs": trainer.data.to_dict()},
        _copied(trainer.state()) if resumable else None,
        kept(trainer.weights()) if last else None,
        None if history.best is None else history.best["epoch"],
        kept(history.best_weights),
        {} if history.best is None else _predictions(trainer, history.best["epoch"]),
        dict(history.confusions),
        trainer.built.pictures | trainer.observer.arrays(),
        _event(device) if device.type == "cuda" else None,
    )


def _predictions(trainer: Trainer, epoch: int) -> dict[str, Any]:
    labels = trainer.data.val.labels
    arrays = {"labels": labels, "scores": trainer.history.best_scores, "index": np.arange(len(labels))}
    if trainer.config.data.folds is not None:  # other runs predict the other images
        arrays["rows"] = trainer.data.val.rows
    return arrays | {"epoch": np.int64(epoch)}


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    try:
        return {name: map_tensors(part, lambda tensor: tensor.detach().clone()) for name, part in state.items()}
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    free_memory()  # outside the handler, whose error would keep the clones alive
    return {name: map_tensors(part, lambda t: t.detach().to("cpu", copy=True)) for name, part in state.items()}


def to_host(tensors: Any, copied: torch.cuda.Event | None) -> Any:
    """Nested `tensors` of a snapshot in host memory: copied on a stream of their own, beside the training."""
    if copied is None:
        return tensors
    stream = _copy_stream(torch.cuda.current_device())
    with torch.cuda.stream(stream):
        stream.wait_event(copied)
        found = map_tensors(tensors, lambda tensor: tensor.to("cpu", non_blocking=True))  # into pinned memory
        done = _event(stream.device)
    done.synchronize()  # of this thread alone
    return found


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Nested dictionaries, lists and tuples with each tensor changed; the containers are new ones."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        found = copy.copy(value)  # with what a state_dict has as attributes
        for key, item in value.items():
            found[key] = map_tensors(item, change)
        return found
    if isinstance(value, (list, tuple)):
        return type(value)(map_tensors(item, change) for item in value)
    return value


def _event(device: torch.device) -> torch.cuda.Event:
    event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # who waits for it leaves the core alone
    event.record(torch.cuda.current_stream(device))
    return event


@functools.cache
def _copy_stream(device: int) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
