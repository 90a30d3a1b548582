"""What a model costs: in numbers, and on the device that trains it."""

from __future__ import annotations

import math
from typing import Any

from hwcls.models import parameters, summary
from hwcls.training.trainer import Trainer


def cost(trainer: Trainer) -> dict[str, Any]:
    """`parameters`, `flops` and `receptive_field` as `summary.size` says, and `inference_ms`.

    The last is the time of an image on this rank's device in batches, preprocessing included; absent before the first
    epoch. Of a model that cannot be followed `flops` and `receptive_field` are absent.
    """
    data = trainer.data
    try:
        found = summary.size(trainer.config.model, trainer.model, len(data.classes), data.channels, data.image_size)
    except Exception:  # a user's model may do what cannot be followed: that is no reason to lose a trial
        found = {"parameters": parameters(trainer.model)}
    return found | ({"inference_ms": 1000 * trainer.inference} if math.isfinite(trainer.inference) else {})
