"""How the head is trained that a fine-tuning starts with: as a trial of its own, on cached features."""

from __future__ import annotations

from hwcls.config.data import AugmentConfig
from hwcls.config.optim import OneCycleConfig
from hwcls.config.trial import TrialConfig

RECIPE = ((1e-3, 1e-4), (1e-3, 1e-1), (1e-2, 1e-4), (1e-2, 1e-1))  # learning rates and weight decays, best on val
EPOCHS = 20
BATCH = 256


def probe_trial(config: TrialConfig) -> TrialConfig | None:
    """The training of the head that a trial starts with, on the plain images' features; None: it starts with none."""
    if (model := config.model.probe) is None:
        return None
    data = config.data.model_copy(update={"augment": AugmentConfig(), "batch_size": BATCH})
    changed = {
        "model": model,
        "data": data,
        "scheduler": OneCycleConfig(),
        "epochs": EPOCHS,
        "clip": None,
        "ema": 0.0,
        "norm_batch": None,
        "workers": 1,
    }
    return config.model_copy(update=changed)


def feature_trial(config: TrialConfig) -> TrialConfig:
    """The trial whose cached features a trial uses, if any: the probe that it starts with, or itself."""
    return probe_trial(config) or config
