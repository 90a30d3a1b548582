"""Many trials of a head on a frozen backbone, against the usual ways. Run by hand on real photos.

    python benchmarks/transfer.py [--data CLASS_FOLDERS] [--images 40] [--side 160] [--trials 40] [--epochs 15]
        [--rounds 1] [--only PART] [--json FILE]

    hwcls           features once, then the trials on them
    hwcls, live     the same trials with `features: live`: the features anew in each epoch
    timm loop       timm + DataLoader(2) + PyTorch's transfer learning tutorial: backbone in eval mode, head trained
    scikit-learn    features by timm + DataLoader(2) once, then LogisticRegression

Counted are CPU-seconds (user + system) of a process for each part, its finished children, start and imports included,
one torch thread, the parts interleaved, medians over the rounds. The two that compute features in each epoch are
measured on --measured epochs of one trial, and the rest is that epoch's cost times the epochs left out. Every part
sees the same files at the size and with the normalisation that the weights expect, and picks its head on val.
Without --data: made-up images, as a smoke test. FILE keeps what is measured; the same command goes on after a break.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from data import cpu_seconds
from PIL import Image
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from timm.data import create_transform, resolve_model_data_config
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import open_data
from hwcls.inspection.evaluate import evaluate_trial
from hwcls.inspection.load_trained import load_trained
from hwcls.models.timm import TimmConfig
from hwcls.training.features.extract import compute_features
from hwcls.training.image_size import size_trial
from hwcls.training.local import train

SPLITS = {"train": 1.0, "val": 0.2, "test": 0.2}  # images of each, as a share of --images
IMAGES = "images"  # train/, val/, test/ with class folders
WEIGHTS = "weights.safetensors"  # of the backbone, by timm's names, for the parts without hwcls
MADE_UP, BATCH, LOADERS = 3, 128, 2  # classes without --data; images of a step; processes of a DataLoader
REAL = {"images": 40, "side": 160, "trials": 40, "epochs": 15, "backbone": "tf_efficientnet_lite0"}
SMOKE = {"images": 8, "side": 32, "trials": 2, "epochs": 3, "backbone": "test_resnet"}


@dataclass(frozen=True)
class Task:
    """What all parts do."""

    folder: str  # IMAGES, WEIGHTS, and what the parts write
    backbone: str
    side: int
    trials: int
    epochs: int
    measured: int  # epochs of a trial whose epochs cost all the same
    pretrained: bool  # or random weights

    @property
    def images(self) -> Path:
        return Path(self.folder, IMAGES)

    @property
    def weights(self) -> str:
        return str(Path(self.folder, WEIGHTS))

    def settings(self) -> list[dict[str, float]]:
        """Of every trial's head."""
        draw = random.Random(0)
        return [
            {
                "lr": 10 ** draw.uniform(-4, -2),
                "weight_decay": 10 ** draw.uniform(-2, 0.5),
                "label_smoothing": draw.choice([0.0, 0.1]),
            }
            for _ in range(self.trials)
        ]


@dataclass(frozen=True)
class Cost:
    """What a part has spent in CPU-seconds, and what its winner is worth."""

    seconds: float
    measured: float  # of `seconds`; the rest is extrapolated
    speed: float | None = None  # images per CPU-second from the files to the features, imports not included
    accuracy: float | None = None  # on test


def of_all(spent: float, epoch: float, trial: float, task: Task) -> Cost:
    """The cost of all trials after one with the task's `measured` epochs; an epoch costs `epoch`, a trial `trial`."""
    left = (task.trials - 1) * (trial + task.epochs * epoch) + (task.epochs - task.measured) * epoch
    return Cost(spent + left, spent)


def hwcls_config(task: Task, features: str, setting: dict[str, float]) -> TrialConfig:
    """A trial of hwcls; `features: live` is shortened to the epochs that are measured."""
    config = TrialConfig.from_dict(
        {
            "data": {"path": str(task.images), "image_size": task.side, "batch_size": BATCH, "augment": {}},
            "model": {
                "name": "timm",
                "backbone": task.backbone,
                "pretrained": True if task.pretrained else task.weights,
                "frozen": True,
                "features": features,
                "head": {"norm": "batch"},
            },
            "optimizer": {"name": "adamw", "lr": setting["lr"], "weight_decay": setting["weight_decay"]},
            "scheduler": {"name": "cosine"},
            "label_smoothing": setting["label_smoothing"],
            "epochs": task.epochs if features == "cached" else task.measured,
        }
    )
    return size_trial(config)[0]  # with what the weights expect


def hwcls_cached(task: Task) -> Cost:
    """What `hwcls train` does for each trial, its files included, after the features of all."""
    configs = [hwcls_config(task, "cached", setting) for setting in task.settings()]
    start = cpu_seconds()
    data = open_data(configs[0].data)
    compute_features(configs[0], data, torch.device("cpu"))
    images = len(data.train) + len(data.val) + len(data.test)
    speed = images / (cpu_seconds() - start)
    found = []
    for number, config in enumerate(configs):
        folder = Path(task.folder, "results", str(number))
        result = train(config, folder, lambda _: None)
        found.append(((result.best or {}).get("val/accuracy", 0.0), folder))
    _, best = max(found, key=lambda one: one[0])
    accuracy = evaluate_trial(load_trained(best, print), "test").values["test/accuracy"]
    spent = cpu_seconds()
    return Cost(spent, spent, speed, accuracy)


def hwcls_live(task: Task) -> Cost:
    """One trial that computes its features in each epoch."""
    config = hwcls_config(task, "live", task.settings()[0])
    open_data(config.data)
    start, ends = cpu_seconds(), []
    train(config, Path(task.folder, "results", "live"), lambda _: ends.append(cpu_seconds()))
    spent = cpu_seconds()
    epoch = statistics.median(np.diff(ends))
    return of_all(spent, epoch, spent - start - task.measured * epoch, task)


def timm_model(task: Task, classes: int) -> tuple[nn.Module, dict[str, ImageFolder]]:
    """timm's model with the weights and a new classifier, and the splits with the preprocessing that it expects."""
    torch.manual_seed(0)
    overlay = {"file": task.weights}
    model = timm.create_model(task.backbone, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=classes)
    expected = resolve_model_data_config(model) | {"input_size": (3, task.side, task.side)}
    transform = create_transform(**expected, is_training=False)
    return model, {split: ImageFolder(str(task.images / split), transform) for split in SPLITS}


def classes_of(task: Task) -> int:
    return sum(path.is_dir() for path in (task.images / "train").iterdir())


def timm_loop(task: Task) -> Cost:
    """pytorch.org's "Transfer Learning for Computer Vision", the model as fixed feature extractor, in eval mode."""
    start, setting = cpu_seconds(), task.settings()[0]
    model, splits = timm_model(task, classes_of(task))
    loaders = {split: DataLoader(splits[split], BATCH, shuffle=True, num_workers=LOADERS) for split in ("train", "val")}
    for weight in model.parameters():
        weight.requires_grad = False
    for weight in model.get_classifier().parameters():
        weight.requires_grad = True
    model.eval()
    criterion = nn.CrossEntropyLoss(label_smoothing=setting["label_smoothing"])
    optimizer = torch.optim.AdamW(
        model.get_classifier().parameters(), setting["lr"], weight_decay=setting["weight_decay"]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, task.epochs)
    ends = [cpu_seconds()]
    for _ in range(task.measured):
        for phase, loader in loaders.items():
            running_loss, running_corrects = 0.0, 0
            for inputs, labels in loader:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    loss = criterion(outputs, labels)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * len(labels)
                running_corrects += int((outputs.argmax(1) == labels).sum())
        schedule.step()
        gc.collect()  # joins the workers, whose time counts from then on
        ends.append(cpu_seconds())
    epoch = statistics.median(np.diff(ends))
    return of_all(cpu_seconds(), epoch, ends[0] - start, task)


def scikit_learn(task: Task) -> Cost:
    """Features of timm's model, then scikit-learn's linear classifier for as many strengths of its penalty."""
    model, splits = timm_model(task, 0)
    model.eval()
    found: dict[str, tuple[Any, Any]] = {}
    start = cpu_seconds()
    with torch.inference_mode():
        for split, images in splits.items():
            parts = [(model(x).numpy(), y.numpy()) for x, y in DataLoader(images, BATCH, num_workers=LOADERS)]
            found[split] = tuple(np.concatenate(part) for part in zip(*parts, strict=True))  # type: ignore[assignment]
    gc.collect()
    speed = sum(len(labels) for _, labels in found.values()) / (cpu_seconds() - start)
    heads = [make_pipeline(StandardScaler(), LogisticRegression(C=c)) for c in np.logspace(-5, 1, task.trials)]
    best = max((head.fit(*found["train"]) for head in heads), key=lambda head: head.score(*found["val"]))
    accuracy = best.score(*found["test"])
    spent = cpu_seconds()
    return Cost(spent, spent, speed, accuracy)


PARTS: dict[str, Callable[[Task], Cost]] = {
    "hwcls": hwcls_cached,
    "hwcls, live": hwcls_live,
    "timm loop": timm_loop,
    "scikit-learn": scikit_learn,
}


def serve(name: str, values: dict[str, Any], out: Path) -> None:
    """A part in a process of its own: its cost as JSON in the file `out`."""
    torch.set_num_threads(1)
    cost = PARTS[name](Task(**values))
    out.write_text(json.dumps(asdict(cost)), encoding="utf-8")


def measure(name: str, task: Task) -> Cost:
    """The cost of a part with empty caches."""
    folder = Path(task.folder)
    out = folder / "cost.json"
    for made in ("cache", "results"):
        shutil.rmtree(folder / made, ignore_errors=True)
    command = [sys.executable, __file__, "--serve", name, json.dumps(asdict(task)), str(out)]
    subprocess.run(command, env=os.environ | {"HWCLS_CACHE": str(folder / "cache")}, check=True)
    return Cost(**json.loads(out.read_text("utf-8")))


def link_images(source: Path, per_class: int, folder: Path) -> None:
    """The first files of each class, spread over train, val and test in the folder; links where it can link them."""
    classes: dict[int, list[str]] = {}
    found = ImageFolder(str(source))
    for path, label in found.samples:
        classes.setdefault(label, []).append(path)
    for label, paths in classes.items():
        random.Random(0).shuffle(paths)
        files = iter(paths)
        for split, share in SPLITS.items():
            place = folder / split / found.classes[label]
            place.mkdir(parents=True)
            for number, path in enumerate(islice(files, max(1, round(share * per_class)))):
                copy = place / f"{number}{Path(path).suffix}"
                try:
                    os.link(path, copy)
                except OSError:  # another file system
                    shutil.copy(path, copy)


def make_images(per_class: int, side: int, folder: Path) -> None:
    """Noise around a colour of each of MADE_UP classes."""
    draw = np.random.default_rng(0)
    for split, share in SPLITS.items():
        for label in range(MADE_UP):
            place = folder / split / f"class {label}"
            place.mkdir(parents=True)
            for number in range(max(2, round(share * per_class))):
                pixels = draw.integers(0, 128, (side, side, 3)) + 127 * (np.arange(3) == label)
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number}.png")


def prepare(task: Task, source: Path | None, per_class: int) -> None:
    """Put into the task's folder the images, and the weights as hwcls finds them (or random ones) by timm's names."""
    if source:
        link_images(source, per_class, task.images)
    else:
        make_images(per_class, task.side, task.images)
    torch.manual_seed(0)
    config = TimmConfig(backbone=task.backbone, pretrained=task.pretrained)
    save_file(config.build(classes=2, channels=3, image_size=task.side).backbone.state_dict(), task.weights)


def table(costs: dict[str, list[Cost]]) -> list[dict[str, Any]]:
    """A row for each part, medians over the rounds; ratios are of this run."""
    rows = []
    base = statistics.median(cost.seconds for cost in costs["hwcls"]) if costs.get("hwcls") else None
    for name, found in costs.items():
        seconds = statistics.median(cost.seconds for cost in found)
        speeds = [cost.speed for cost in found if cost.speed]
        rows.append(
            {
                "part": name,
                "cpu_seconds": seconds,
                "measured": statistics.median(cost.measured for cost in found),
                "hwcls_is_faster": seconds / base if base else None,
                "features_per_cpu_second": statistics.median(speeds) if speeds else None,
                "test_accuracy": found[-1].accuracy,
            }
        )
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    print(f"{'part':14s} {'CPU-s':>9s} {'measured':>9s} {'ratio':>7s} {'features/CPU-s':>15s} {'test':>7s}")
    for row in rows:
        cells = ((9, ",.0f"), (9, ",.0f"), (7, ".1f"), (15, ".1f"), (7, ".2%"))
        values = list(row.values())[1:]
        texts = ("-".rjust(w) if v is None else format(v, f"{w}{f}") for v, (w, f) in zip(values, cells, strict=True))
        print(f"{row['part']:14s}", *texts, flush=True)


def run(task: Task, parts: Sequence[str], rounds: int, path: Path | None) -> list[dict[str, Any]]:
    """Measure what `path` does not have yet; the rows of the table."""
    key = {**asdict(task), "folder": ""}
    kept = json.loads(path.read_text("utf-8")) if path and path.exists() else {}
    costs = kept.get("costs", {}) if kept.get("task") == key else {}
    for number in range(rounds):
        for name in parts:
            if len(costs.setdefault(name, [])) > number:
                continue
            costs[name].append(asdict(measure(name, task)))
            if path:
                rows = table({one: [Cost(**cost) for cost in found] for one, found in costs.items() if found})
                path.write_text(json.dumps({"task": key, "costs": costs, "rows": rows}, indent=2) + "\n", "utf-8")
    return table({name: [Cost(**cost) for cost in costs[name]] for name in parts})


def main() -> None:
    """Print the table and write the JSON."""
    if sys.argv[1:2] == ["--serve"]:
        name, values, out = sys.argv[2:]
        serve(name, json.loads(values), Path(out))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of class folders; none: made-up images, random weights")
    parser.add_argument("--images", type=int, help="training images of each class")
    parser.add_argument("--side", type=int, help="pixels")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--epochs", type=int, help="of a trial")
    parser.add_argument("--measured", type=int, default=2, help="epochs of the parts that are extrapolated")
    parser.add_argument("--backbone", help="of timm")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", choices=PARTS, action="append", help="these parts (repeatable)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    usual = REAL if options.data else SMOKE
    chosen = {key: value if (value := getattr(options, key)) is not None else usual[key] for key in usual}
    images = chosen.pop("images")
    with tempfile.TemporaryDirectory() as folder:
        task = Task(folder, measured=options.measured, pretrained=options.data is not None, **chosen)
        prepare(task, options.data, images)
        rows = run(task, options.only or list(PARTS), options.rounds, options.json)
    show(rows)


if __name__ == "__main__":
    main()
