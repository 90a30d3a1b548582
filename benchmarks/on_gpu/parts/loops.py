"""Part `loops`: hwcls against the loops that people write, on the same model, images, batch and GPU."""

from __future__ import annotations

import importlib.util
import logging
from multiprocessing import set_start_method
from typing import Any

import torch
from torch import nn

from benchmarks.loops import Images, Loop, Task, lightning_loop, timm_loop, torchvision_loop, tutorial
from benchmarks.on_gpu.inputs import MODELS, Setting, shared_images, trial_config
from benchmarks.on_gpu.part import LeftOutError, Part
from benchmarks.on_gpu.window import Window, WindowObserver, time_steps
from hwcls import models
from hwcls.data.imageset import ImageSet
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World

WARM = 15  # steps
TRAINED = ("resnet18", "simple_cnn")
LOOPS: dict[str, tuple[Loop, tuple[str, ...]]] = {  # and the packages that each needs
    "tutorial": (tutorial, ()),
    "lightning": (lightning_loop, ("lightning", "torchmetrics")),
    "timm": (timm_loop, ("timm",)),
    "torchvision": (torchvision_loop, ()),
}


def measure(item: str, setting: Setting) -> dict[str, Any]:
    """A row of `MODEL/LOOP`; raises LeftOutError where a package is missing."""
    name, loop = item.split("/")
    shape, model = MODELS[name]
    data, device = shared_images(shape, setting.images), setting.device
    if loop == "hwcls":
        observer = WindowObserver()
        trainer = build_trainer(trial_config(model, setting.batch), data, World(device=device), observer)
        window = Window.of(device, trainer.feed.steps + 5, setting.seconds)
        time_steps(trainer, observer, window)
        return window.row()
    make, packages = LOOPS[loop]
    if missing := [package for package in packages if importlib.util.find_spec(package) is None]:
        raise LeftOutError(f"{missing[0]} is not installed")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    set_start_method("fork", force=True)  # of the DataLoader's workers, as where a script is the main process
    window = Window.of(device, WARM, setting.seconds)
    build = _Build(data, model)
    epoch = make(Task(Images(data, 4), build, device, setting.batch, setting.loaders, window.follow))
    while not window.over:
        epoch()
    return window.row()


class _Build:
    """Makes hwcls's model, so that only the loops differ."""

    def __init__(self, data: ImageSet, model: dict[str, Any]) -> None:
        self.data, self.config = data, trial_config(model, 1).model

    def __call__(self) -> nn.Module:
        torch.manual_seed(0)
        classes, channels = len(self.data.classes), self.data.channels
        return models.build(self.config, classes=classes, channels=channels, image_size=self.data.image_size)


PART = Part(
    items=tuple(f"{name}/{loop}" for name in TRAINED for loop in ("hwcls", *LOOPS)),
    measure=measure,
    columns={
        "images_per_second": ("images/s", ",.0f"),
        "step_ms": ("ms a step", ".2f"),
        "launches": ("launches", ",.0f"),
        "kernels": ("kernels", ",.0f"),
        "busy_share": ("busy", ".0%"),
    },
)
