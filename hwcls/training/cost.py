"""What a model costs: in numbers, and on the device that trains it."""

from __future__ import annotations

import math
from typing import Any

from hwcls.models import summary
from hwcls.training.trainer import Trainer


def cost(trainer: Trainer) -> dict[str, Any]:
    """`parameters`, `flops` and `receptive_field` as `summary.size` says, and `inference_ms`.

    The last is the time of an image on this rank's device in batches, preprocessing included; absent before the first
    epoch.
    """
    data = trainer.data
    found = summary.size(trainer.config.model, trainer.model, len(data.classes), data.channels, data.image_size)
    return found | ({"inference_ms": 1000 * trainer.inference} if math.isfinite(trainer.inference) else {})
