"""How long a checkpoint keeps a training from its next step: python benchmarks/checkpoints.py

A ResNet-18 with AdamW, 180 MB. `waited for` is a checkpoint that the training loop writes itself, with all its files;
`in a thread` is the snapshot alone, after which the next epoch begins, `written` the time until the thread is done,
and `same best` that of one whose best epoch is that of the checkpoint before. Interleaved; medians and the ratio.
`scores` are the probabilities of 50,000 images of 1,000 classes, compressed and not.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import open_data
from hwcls.training import checkpoint
from hwcls.training.build import build_trainer
from hwcls.training.checkpoint_writer import CheckpointWriter
from hwcls.training.snapshot import take_snapshot
from hwcls.training.trainer import Trainer

CONFIG = {
    "data": {"name": "digits", "batch_size": 64, "per_class": 20},
    "model": {"name": "timm", "backbone": "resnet18", "pretrained": False},
    "optimizer": {"name": "adamw", "lr": 0.001},
    "epochs": 9,
}
KINDS = ("waited for", "in a thread", "written", "same best")


def measure(trainer: Trainer, folder: Path, repeats: int) -> dict[str, list[float]]:
    """Seconds of each kind of KINDS."""
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    writer = CheckpointWriter[Path]()
    for number in range(repeats):
        began = time.perf_counter()
        checkpoint.write(take_snapshot(trainer), folder / "waited for")
        found["waited for"].append(time.perf_counter() - began)
        before = None
        for kind in ("written", "same best"):
            began = time.perf_counter()
            writer.begin(trainer, partial(checkpoint.replace, folder=folder / f"{kind} {number}", before=before))
            found["in a thread"].append(time.perf_counter() - began)
            before = writer.wait()
            found[kind].append(time.perf_counter() - began)
    return found


def measure_scores(images: int, classes: int) -> dict[str, tuple[float, int]]:
    """Seconds and bytes of the probabilities of a trained model, (N, K) float16, by how they are stored."""
    random = np.random.default_rng(0)
    logits = 3 * random.standard_normal((images, classes), np.float32)  # (N, K)
    logits[np.arange(images), random.integers(classes, size=images)] += 8
    scores = np.exp(logits - logits.max(1, keepdims=True))
    scores = (scores / scores.sum(1, keepdims=True)).astype(np.float16)
    found = {}
    for name, save in (("plain", np.savez), ("compressed", np.savez_compressed)):
        began, buffer = time.perf_counter(), io.BytesIO()
        save(buffer, scores=scores)
        found[name] = time.perf_counter() - began, buffer.getbuffer().nbytes
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--images", type=int, default=50_000, help="of the scores")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: a temporary one")
    options = parser.parse_args()
    config = TrialConfig.from_dict(CONFIG)
    trainer = build_trainer(config, open_data(config.data))
    next(trainer.epochs())
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = measure(trainer, Path(folder), options.repeats)
        size = sum(path.stat().st_size for path in Path(folder, "waited for").rglob("*") if path.is_file())
    print(f"{size / 1e6:.0f} MB on {trainer.world.device.type}, median of {options.repeats} in ms (lowest, highest)")
    for kind, seconds in found.items():
        low, middle, high = (1000 * value for value in (min(seconds), median(seconds), max(seconds)))
        print(f"{kind:12} {middle:8.1f} ({low:.1f}, {high:.1f})")
    print(f"the loop is kept {median(found['waited for']) / median(found['in a thread']):.0f} times shorter")
    for name, (seconds, count) in measure_scores(options.images, 1000).items():
        print(f"scores, {name:10} {seconds:6.2f} s {count / 1e6:6.1f} MB")


if __name__ == "__main__":
    main()
