"""Training speed on one GPU. Run by hand; needs neither Ray nor W&B, nor a network or a data set.

    python benchmarks/gpu.py [--only NAME ...] [--batch 256] [--images N] [--json FILE]

Per model and mode (kernels launched one by one, by torch.compile, in a CUDA graph of the step, both), in bfloat16 where
the GPU has it: images per second of a training epoch after a warm-up epoch, its share of the bf16 peak (an image costs
three forward passes of FLOPs), peak memory, the seconds of a complete epoch with both evaluations, and the seconds of
the start (compiling, capturing).
The images are random with the real shapes: 100,000
of 64x64x3 in 200 classes, 60,000 of 28x28x1 in 10. `--device cpu --images 256 --batch 32` shows that it runs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hwcls.config.data import AugmentConfig
from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import ImageSet, Split
from hwcls.models.summary import count_flops
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}  # dense bf16, of the vendor
TINY, FASHION = (64, 3, 200, 100_000), (28, 1, 10, 60_000)  # side, channels, classes, images
MODES = ("eager", "compiled", "graph", "compiled graph")
MODELS: dict[str, tuple[tuple[int, int, int, int], dict[str, Any]]] = {
    "resnet18-small": (TINY, {"name": "timm", "backbone": "resnet18", "stem": "small"}),
    "resnet18": (TINY, {"name": "timm", "backbone": "resnet18"}),
    "efficientnet_b0": (TINY, {"name": "timm", "backbone": "efficientnet_b0"}),
    "efficientnet_b5": (TINY, {"name": "timm", "backbone": "efficientnet_b5"}),
    "simple_cnn": (FASHION, {"name": "simple_cnn"}),
}


def random_images(shape: tuple[int, int, int, int], images: int | None) -> ImageSet:
    """A data set of random pixels: nine tenths train, the rest val (and test)."""
    side, channels, classes, count = shape
    count = images or count
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (count, side, side, channels), np.uint8)  # (N, S, S, C)
    labels, cut = draw.integers(0, classes, count), count * 9 // 10

    def split(low: int, high: int) -> Split:
        return Split(pixels, labels[low:high], np.arange(low, high))

    names, val = tuple(map(str, range(classes))), split(cut, count)
    moments = (0.5,) * channels, (0.29,) * channels
    return ImageSet("random", names, side, channels, *moments, split(0, cut), val, val, AugmentConfig())


def measure(name: str, batch: int, images: int | None, device: torch.device, mode: str) -> dict[str, Any]:
    """One row: two epochs, of which the second counts."""
    shape, model = MODELS[name]
    data = random_images(shape, images)
    config = TrialConfig.from_dict(
        {
            "data": {"name": "random", "batch_size": batch, "augment": {"crop": 4, "hflip": True}},
            "model": model,
            "optimizer": {"name": "sgd", "lr": 0.01},
            "scheduler": {"name": "constant"},
            "epochs": 2,
        }
    )
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    trainer = build_trainer(config, data, World(device=device))
    if "compiled" in mode:
        trainer.accumulator.ddp = torch.compile(trainer.accumulator.ddp, dynamic=False)
    if "graph" not in mode:
        trainer.step.graph = None
    work = 3 * count_flops(trainer.model, data.channels, data.image_size)
    began = time.perf_counter()
    _, second = trainer.epochs()
    speed = second.images_per_second
    kind = torch.cuda.get_device_name(device) if cuda else ""
    peak = next((peak for name, peak in PEAKS.items() if name in kind), None)
    return {
        "model": name,
        "mode": mode,
        "images_per_second": speed,
        "share_of_peak": speed * work / peak if peak else None,
        "memory_gb": torch.cuda.max_memory_allocated(device) / 1e9 if cuda else None,
        "epoch_seconds": second.seconds,
        "start_seconds": time.perf_counter() - began - 2 * second.seconds,  # compiling, choosing kernels
        "gflop_per_image": work / 1e9,
        "micro_batch": trainer.micro_batch,
    }


def main() -> None:
    """Print the table and write the JSON; exit 2 where there is no such device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--images", type=int, help="instead of the real numbers")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no GPU here: torch sees none (--device cpu only shows that the script runs)", file=sys.stderr)
        raise SystemExit(2)
    rows = []
    print(f"{'model':18s}{'':18s}{'images/s':>12s}{'of peak':>9s}{'GB':>7s}{'epoch s':>9s}{'start s':>9s}")
    for name in options.only:
        for mode in options.modes if device.type == "cuda" else ("eager",):
            row = measure(name, options.batch, options.images, device, mode)
            rows.append(row)
            share = f"{row['share_of_peak']:.1%}" if row["share_of_peak"] is not None else "-"
            memory = f"{row['memory_gb']:.1f}" if row["memory_gb"] is not None else "-"
            print(
                f"{name:18s}{mode:18s}{row['images_per_second']:12,.0f}{share:>9s}{memory:>7s}"
                f"{row['epoch_seconds']:9.2f}{row['start_seconds']:9.1f}"
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
