"""Part `turnaround`: from the last step of a trial to the first step of the next one, in a warm process."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.on_gpu.inputs import MODELS, Setting, shared_images, trial_config
from benchmarks.on_gpu.part import Part
from benchmarks.on_gpu.trials import EPOCHS, train_trial

TRIALS = 4  # of which the first warms up


def measure(item: str, setting: Setting) -> dict[str, Any]:
    """Medians over the trials, in seconds: `evaluate` and `write` of the trial before, `build` and `step` of the next.

    `step` ends with the first step of a trial: it draws the epoch's plan, and chooses kernels.
    """
    shape, model = MODELS[item]
    data, device = shared_images(shape, setting.images), setting.device
    with tempfile.TemporaryDirectory() as folder:
        times = [
            train_trial(
                trial_config(model, setting.batch, epochs=EPOCHS, seed=seed), data, device, Path(folder, str(seed))
            )
            for seed in range(TRIALS)
        ]
    pairs = list(pairwise(times))
    phases = {
        "evaluate": median(before.evaluated - before.last_step for before, _ in pairs),
        "write": median(before.written - before.evaluated for before, _ in pairs),
        "build": median(after.built - after.began for _, after in pairs),
        "step": median(after.first_step - after.built for _, after in pairs),
    }
    return {"seconds": median(after.first_step - before.last_step for before, after in pairs), **phases}


PART = Part(
    items=("simple_cnn", "resnet18"),
    measure=measure,
    columns={name: (name, ".3f") for name in ("seconds", "evaluate", "write", "build", "step")},
)
