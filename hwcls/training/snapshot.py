"""What a checkpoint holds of a trainer at one moment: the trainer may train on while it is written."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwcls.training.memory import available_bytes, free_memory, is_out_of_memory, step_bytes
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
    """Copy on the trainer's device, or to the host where a step would not fit beside the copies.

    Copies on a GPU are only queued; what waits for it is an observer that reads its arrays there.

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
    copied, latest = _copies(trainer, state=resumable, last=last)
    return Snapshot(
        trainer.epoch,
        {"config": trainer.config.to_dict(), "inputs": trainer.data.to_dict()},
        copied,
        None if latest is None else kept(latest),
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


Copies = tuple[dict[str, Any] | None, dict[str, Tensor] | None]


def _copies(trainer: Trainer, *, state: bool, last: bool) -> Copies:
    """The trainer's state and its latest weights, each where it is wanted."""

    def taken(copy: Callable[[Tensor], Tensor]) -> Copies:
        found = map_tensors(trainer.state(), copy) if state else None
        return found, trainer.weights(copy) if last else None

    if _has_room(trainer, [trainer.state() if state else {}, trainer.model.state_dict() if last else {}]):
        try:
            return taken(lambda tensor: tensor.detach().clone())
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        free_memory()  # outside the handler, whose error would keep the clones alive
    return taken(lambda tensor: tensor.detach().to("cpu", copy=True))


def _has_room(trainer: Trainer, tensors: Any) -> bool:
    """Whether nested `tensors` fit on the trainer's device a second time, beside a step."""
    device = trainer.world.device
    if device.type != "cuda":
        return True
    steps = 2 if trainer.step.why_eager() is None else 1  # a graph keeps its own memory, which torch counts as unused
    return available_bytes(device) > _count_bytes(tensors) + steps * step_bytes(device, trainer.usage.memory)


def _count_bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return sum(map(_count_bytes, items))


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
