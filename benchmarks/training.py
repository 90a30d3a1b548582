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
from PIL import Image
from timm.data import create_loader
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, accuracy
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from hwcls import models
from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import ImageSet, open_data
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World

try:
    import lightning
    from torchmetrics.classification import MulticlassAccuracy
except ImportError as error:
    raise SystemExit(f"{error.name} is missing: pip install lightning torchmetrics") from None

CPU = torch.device("cpu")
BATCH, LR, MOMENTUM, DECAY = 128, 0.05, 0.9, 5e-4
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


class Images(Dataset[Any]):
    """Decoded images, each made a PIL image and augmented alone, as torchvision's own MNIST and CIFAR sets do it."""

    def __init__(self, data: ImageSet, crop: int) -> None:
        self.pixels, self.rows, self.labels = data.train.images, data.train.rows, data.train.labels
        self.data, self.classes = data, data.classes
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(data.image_size, padding=crop),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(data.mean, data.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        pixels = self.pixels[self.rows[index]]
        image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
        return self.transform(image), int(self.labels[index])


def tutorial(config: TrialConfig, images: Images, build: Callable[[], nn.Module]) -> Callable[[], int]:
    """pytorch.org's "Training a classifier", with the DataLoader's two workers."""
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), LR, MOMENTUM, weight_decay=DECAY)
    criterion = nn.CrossEntropyLoss()

    def epoch() -> int:
        model.train()
        seen, total, right = 0, 0.0, 0
        for inputs, labels in DataLoader(images, BATCH, shuffle=True, num_workers=2):
            optimizer.zero_grad()
            outputs = model(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
            right += (outputs.argmax(1) == labels).sum().item()
            seen += len(labels)
        return seen

    return epoch


def timm_loop(config: TrialConfig, images: Images, build: Callable[[], nn.Module]) -> Callable[[], int]:
    """The loader, optimizer, schedule and meters of timm's train.py, channels_last as its option has it."""
    model = build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = create_optimizer_v2(model, "sgd", LR, DECAY, MOMENTUM)
    criterion = nn.CrossEntropyLoss()
    side = images[0][0].shape
    transform = images.transform
    loader = create_loader(
        images,
        tuple(side),
        BATCH,
        is_training=True,
        num_workers=2,
        device=CPU,
        use_prefetcher=False,
        persistent_workers=False,
    )
    images.transform = transform  # create_loader sets its own
    schedule, _ = create_scheduler_v2(optimizer, "cosine", num_epochs=100, updates_per_epoch=len(loader))

    def epoch() -> int:
        model.train()
        losses, top1, seen = AverageMeter(), AverageMeter(), 0
        optimizer.zero_grad()
        for number, (inputs, labels) in enumerate(loader):
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            output = model(inputs)
            loss = criterion(output, labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.update(loss.item(), len(labels))
            top1.update(accuracy(output.detach(), labels)[0].item(), len(labels))
            schedule.step_update(num_updates=number, metric=losses.avg)
            seen += len(labels)
        return seen

    return epoch


class Module(lightning.LightningModule):
    """The same as Lightning's users write it."""

    def __init__(self, model: nn.Module, classes: int) -> None:
        super().__init__()
        self.model, self.accuracy = model, MulticlassAccuracy(classes, average="micro")

    def training_step(self, batch: Any, index: int) -> Any:
        inputs, labels = batch
        outputs = self.model(inputs)
        loss = nn.functional.cross_entropy(outputs, labels)
        self.accuracy(outputs, labels)
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        self.log("train/accuracy", self.accuracy, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), LR, MOMENTUM, weight_decay=DECAY)


def lightning_loop(config: TrialConfig, images: Images, build: Callable[[], nn.Module]) -> Callable[[], int]:
    """Lightning's Trainer with a metric of torchmetrics, without logger, checkpoints and progress bar."""
    module = Module(build(), len(images.classes))

    def epoch() -> int:
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, DataLoader(images, BATCH, shuffle=True, num_workers=2))
        return len(images)

    return epoch


def hwcls_loop(config: TrialConfig, images: Images, build: Callable[[], nn.Module]) -> Callable[[], int]:
    """The training pass of hwcls's Trainer, without its evaluation, which the others do not have either."""
    trainer = build_trainer(config, images.data, World(device=CPU))
    number = iter(range(1, 1_000_000))
    return lambda: trainer.train_epoch(next(number))


CONTENDERS = {
    "PyTorch tutorial + DataLoader(2)": tutorial,
    f"Lightning {lightning.__version__} + torchmetrics": lightning_loop,
    "timm's train.py": timm_loop,
    "hwcls": hwcls_loop,
}


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

    epoch = CONTENDERS[name](config, Images(data, values["data"]["augment"]["crop"]), build)
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
