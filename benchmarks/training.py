"""How fast hwcls trains on a CPU, against Lightning, timm's loop and the PyTorch tutorial's. Run by hand on real data.

    HWCLS_DATA=... python benchmarks/training.py [--images 8000] [--rounds 5] [--json FILE]

Every contender trains one epoch of the same model, images, augmentation, batch and SGD, and keeps loss and accuracy.
Counted are images per CPU-second (user + system, finished children included) with one torch thread, start and end of
the epoch included, contenders interleaved, medians over the rounds. Needs `pip install lightning torchmetrics`.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import statistics
import tempfile
import warnings
from collections.abc import Callable
from multiprocessing import get_context, set_start_method
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from data import cpu_seconds
from loops import DECAY, LR, MOMENTUM, Images, Loop, Task, lightning_loop, timm_loop, tutorial
from torch import nn

from hwcls import models
from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import ImageSet, open_data
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World

try:
    import lightning
    import torchmetrics  # noqa: F401
except ImportError as error:
    raise SystemExit(f"{error.name} is missing: pip install lightning torchmetrics") from None

CPU = torch.device("cpu")
BATCH = 128
SETUPS: dict[str, dict[str, Any]] = {
    "SimpleCNN, Fashion-MNIST": {
        "data": {"name": "fashion_mnist", "augment": {"crop": 2, "hflip": True}},
        "model": {"name": "simple_cnn", "width": 32, "depth": 2, "head": {"depth": 2, "width": 128}},
    },
    "ResNet-8, CIFAR-10": {
        "data": {"name": "imagefolder", "augment": {"crop": 4, "hflip": True}},
        "model": {"name": "residual_cnn", "width": 16, "blocks": 3},
    },
}


def hwcls_loop(config: TrialConfig, data: ImageSet) -> Callable[[], int]:
    """The training pass of hwcls's Trainer, without its evaluation, which the others do not have either."""
    trainer = build_trainer(config, data, World(device=CPU))
    number = iter(range(1, 1_000_000))
    return lambda: trainer.train_epoch(next(number))


LOOPS: dict[str, Loop] = {
    "PyTorch tutorial + DataLoader(2)": tutorial,
    f"Lightning {lightning.__version__} + torchmetrics": lightning_loop,
    "timm's train.py": timm_loop,
}
CONTENDERS = (*LOOPS, "hwcls")


def serve(name: str, values: dict[str, Any], pipe: Connection) -> None:
    """A contender in a process of its own: trains an epoch whenever asked to, and returns images per CPU-second."""
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    set_start_method("fork", force=True)  # of the DataLoader's workers, as where the script is the main process
    config = TrialConfig.from_dict(values)
    data = open_data(config.data)

    def build() -> nn.Module:
        torch.manual_seed(0)
        return models.build(config.model, classes=len(data.classes), channels=data.channels, image_size=data.image_size)

    images = Images(data, values["data"]["augment"]["crop"])
    epoch = LOOPS[name](Task(images, build, CPU, BATCH)) if name in LOOPS else hwcls_loop(config, data)
    while pipe.recv():
        gc.collect()
        start = cpu_seconds()
        seen = epoch()
        gc.collect()  # joins the workers, whose time counts from then on
        pipe.send(seen / (cpu_seconds() - start))


def run(setup: dict[str, Any], images: int, rounds: int) -> dict[str, float]:
    """Images per CPU-second of every contender, medians."""
    values = {**setup, "data": {**setup["data"], "batch_size": BATCH, "per_class": -(-images // 9)}}
    values["optimizer"] = {"name": "sgd", "lr": LR, "momentum": MOMENTUM, "weight_decay": DECAY}
    values |= {"scheduler": {"name": "constant"}, "epochs": 1000}
    open_data(TrialConfig.from_dict(values).data)  # built once, before they start
    context, pipes, processes = get_context("spawn"), {}, []
    for name in CONTENDERS:
        pipes[name], there = context.Pipe()
        processes.append(context.Process(target=serve, args=(name, values, there)))
        processes[-1].start()
    speeds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for number in range(rounds + 1):
        for name, pipe in pipes.items():
            pipe.send(True)
            speed = pipe.recv()
            if number:  # the first round warms up
                speeds[name].append(speed)
    for pipe in pipes.values():
        pipe.send(False)
    for process in processes:
        process.join()
    return {name: statistics.median(runs) for name, runs in speeds.items()}


def main() -> None:
    """Print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8000, help="of an epoch, about")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not os.environ.get("HWCLS_DATA"):
        raise SystemExit("HWCLS_DATA names no folder of real data")
    SETUPS["ResNet-8, CIFAR-10"]["data"]["path"] = str(Path(os.environ["HWCLS_DATA"], "cifar10-images"))
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HWCLS_CACHE"] = scratch
        for title, setup in SETUPS.items():
            speeds = run(setup, options.images, options.rounds)
            base = next(iter(speeds.values()))
            result[title] = {
                name: {"images_per_cpu_second": speed, "ratio": speed / base, "hwcls_over_it": speeds["hwcls"] / speed}
                for name, speed in speeds.items()
            }
            print(f"{title}: images per CPU-second, ratio to the tutorial, hwcls's to it")
            for name, row in result[title].items():
                print(f"  {name:40s}" + "".join(f"{value:9,.2f}" for value in row.values()), flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
