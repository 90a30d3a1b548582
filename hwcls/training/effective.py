"""What a trial's data, model and machine decided, where its config leaves it open: `effective` in result.json."""

from __future__ import annotations

from typing import Any

import torch

from hwcls.training.evaluation import train_sample_size
from hwcls.training.trainer import Trainer


def effective_settings(trainer: Trainer) -> dict[str, Any]:
    """JSON-ready values of rank 0: images as the model gets them, how they are computed, what the loss weighs.

    `mean` and `std`, per channel, normalise pixels / 255; `cuda_graph_reason` says why steps are not replayed as a CUDA
    graph, None where they are; `norm_batch` is the most images that BatchNorm normalises
    together; `train_sample` the training images on which train/accuracy is measured; `class_weights` are in the order
    of the classes, None without. Where only the head was trained, on cached features, `features` says so, and `views`
    on how many views of each training image. What the model's family decided comes last.
    """
    data, config, precision = trainer.data, trainer.config, trainer.accumulator.precision
    device, weights = trainer.world.device, trainer.accumulator.loss.weights
    gpu = device.type == "cuda"
    return {
        "image_size": data.image_size,
        "resize": data.resize,
        "interpolation": data.interpolation,
        "crop_pct": data.crop_pct,
        "channels": data.channels,
        "mean": list(data.mean),
        "std": list(data.std),
        "device": torch.cuda.get_device_name(device) if gpu else device.type,
        "precision": "bfloat16" if precision.bf16 else str(next(trainer.model.parameters()).dtype).split(".")[1],
        "cuda_graph": trainer.step.graph is not None and trainer.step.graph.captured,
        "cuda_graph_reason": _why_eager(trainer),
        "micro_batch": trainer.micro_batch,
        "norm_batch": config.norm_batch or trainer.micro_batch,
        "class_weights": None if weights is None else [round(weight, 6) for weight in weights.tolist()],
        "train_sample": train_sample_size(data),
        **_features(trainer),
        **({"probe": dict(trainer.built.probe)} if trainer.built.probe else {}),
        **config.model.decided(trainer.model if trainer.built.backbone is None else trainer.built.backbone.model),
    }


def _why_eager(trainer: Trainer) -> str | None:
    """Why the steps are not replayed as a CUDA graph, None where they are."""
    if trainer.step.obstacle is None and trainer.micro_batch < trainer.config.data.batch_size:
        return "its batches are split into micro-batches"
    return trainer.step.why_eager()


def _features(trainer: Trainer) -> dict[str, Any]:
    if trainer.built.backbone is None:
        return {}
    return {"features": "cached", "views": trainer.config.cached_views(trainer.data.augment)}
