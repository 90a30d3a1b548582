"""What a model costs: in numbers, and on the device that trains it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from hwcls.models import parameters, summary
from hwcls.training.trainer import Trainer


def trial_cost(trainer: Trainer) -> dict[str, Any]:
    """`parameters`, `flops` and `receptive_field` as `summary.size` says, `batch_size`, and what was measured here.

    `inference_ms` is the time of an image on this rank's device in batches, preprocessing included, absent before the
    first epoch; `memory_mb` (2**20 bytes) what this rank's training step takes, see `memory_bytes`; `pretrain_seconds`
    how long the encoder was trained before, where there is one. Of a model that cannot be followed `flops`,
    `receptive_field` and on a CPU `memory_mb` are absent.
    """
    data = trainer.data
    try:
        found = summary.size(trainer.config.model, trainer.model, len(data.classes), data.channels, data.image_size)
    except Exception:  # a user's model may do what cannot be followed: that is no reason to lose a trial
        found = {"parameters": parameters(trainer.model)}
    found["batch_size"] = trainer.config.data.batch_size
    memory = memory_bytes(trainer, found.pop("activations", None))
    measured = {"inference_ms": 1000 * trainer.inference, "memory_mb": memory and memory / 2**20}
    measured["pretrain_seconds"] = trainer.built.pretrain_seconds
    return found | {name: value for name, value in measured.items() if value is not None and math.isfinite(value)}


def memory_bytes(trainer: Trainer, activations: int | None) -> int | None:
    """The memory of this rank's training step: on a GPU the most that tensors took at once since the trial began, on a
    CPU weights, gradients, the optimizer's state and the `activations` (bytes of an image) of a micro-batch together.
    """
    device = trainer.world.device
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if activations is None:
        return None
    weights = list(trainer.model.parameters())
    tensors = [*weights, *trainer.model.buffers(), *(weight for weight in weights if weight.requires_grad)]
    for state in trainer.optimizer.state.values():
        tensors += [value for value in state.values() if isinstance(value, Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) + activations * trainer.micro_batch
