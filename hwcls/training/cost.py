"""The cost of a trial's model: its size, and time and memory on the device that trains it."""

from __future__ import annotations

import math
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from hwcls.models import count_parameters, summary
from hwcls.training.latency import image_seconds
from hwcls.training.trainer import Trainer


def trial_cost(trainer: Trainer) -> dict[str, Any]:
    """The model's `parameters`, `flops` and `receptive_field` (see `summary.measure_size`), `batch_size`, and times.

    `inference_ms` is the time of an image on this rank's device in batches, preprocessing included, absent before the
    first epoch; `idle_share` the share of its time in which this rank ran no step of training or evaluation, see
    `Usage`; `memory_mb` (2**20 bytes) the memory of this rank's training step, see `memory_bytes`; `pretrain_seconds`
    the time of an encoder's pretraining or of a head's probe. `flops`, `receptive_field` and on a CPU `memory_mb` are
    absent where the model cannot be traced. `latency_ms`, the median of single images through the whole model, is
    measured where the sweep searches for it.
    """
    backbone = trainer.built.backbone
    trainer.config.model.before_epoch(trainer.model, trainer.config.epochs)  # it may have ended before all was trained
    try:
        found = _measure_size(trainer)
    except Exception:  # a user's model may not be traceable, which must not fail its trial
        found = {"parameters": count_parameters(trainer.built.whole)}
    found["batch_size"] = trainer.config.data.batch_size
    memory = memory_bytes(trainer, found.pop("activations", None))
    inference = trainer.usage.inference + (backbone.seconds if backbone else 0.0)
    measured = {"inference_ms": 1000 * inference, "memory_mb": memory and memory / 2**20}
    measured["pretrain_seconds"] = trainer.built.pretrain_seconds
    measured["latency_ms"] = _latency(trainer)
    measured["idle_share"] = trainer.usage.idle_share
    return found | {name: value for name, value in measured.items() if value is not None and math.isfinite(value)}


def _latency(trainer: Trainer) -> float | None:
    """Milliseconds of an image by itself, once for each trial; None where nobody asks."""
    if not any(cost.recorded == "latency_ms" for cost in trainer.config.metric.costs):
        return None
    if trainer not in _latencies:
        data, whole = trainer.data, trainer.built.whole
        dtype, pixels = next(whole.parameters()).dtype, data.channels * data.image_size**2
        image = torch.linspace(-1, 1, pixels, device=trainer.world.device, dtype=dtype)  # draws no random numbers
        image = image.view(1, data.channels, data.image_size, data.image_size)
        try:
            seconds = image_seconds(whole, image, trainer.accumulator.precision)
        except Exception:  # a user's model may not take a single image, which must not fail its trial
            seconds = math.nan
        _latencies[trainer] = 1000 * seconds
    return _latencies[trainer]


_latencies: WeakKeyDictionary[Trainer, float] = WeakKeyDictionary()


def _measure_size(trainer: Trainer) -> dict[str, Any]:
    """As `summary.measure_size`; of a head on cached features with the backbone's size, which keeps no activations."""
    data, backbone = trainer.data, trainer.built.backbone
    if backbone is None:
        shape = data.channels, data.image_size
        return summary.measure_size(trainer.config.model, trainer.model, len(data.classes), *shape)
    head = summary.measure_head(trainer.config.model, trainer.model, len(data.classes), *trainer.feed.shape)
    both = {name: backbone.size[name] + head[name] for name in ("parameters", "flops")}
    return {**both, "activations": head["activations"], "receptive_field": backbone.size["receptive_field"]}


def memory_bytes(trainer: Trainer, activations: int | None) -> int | None:
    """The memory of this rank's training step: on a GPU the peak of allocated tensors, see `Usage`, on a CPU weights,
    gradients, the optimizer's state and the `activations` (bytes of an image) of a micro-batch together.
    """
    device = trainer.world.device
    if device.type == "cuda":
        return trainer.usage.memory or torch.cuda.max_memory_allocated(device)
    if activations is None:
        return None
    gradients = sum(weight.nbytes for weight in trainer.model.parameters() if weight.requires_grad)
    return static_bytes(trainer) + gradients + activations * trainer.micro_batch


def static_bytes(trainer: Trainer) -> int:
    """Bytes of the weights, the buffers and the optimizer's state."""
    tensors = [*trainer.model.parameters(), *trainer.model.buffers()]
    for state in trainer.optimizer.state.values():
        tensors += [value for value in state.values() if isinstance(value, Tensor)]
    return sum(tensor.nbytes for tensor in tensors)
