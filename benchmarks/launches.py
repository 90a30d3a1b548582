"""Operators that one training step launches on a GPU, and how often it makes the host wait. Needs no GPU.

    python benchmarks/launches.py [--only NAME ...] [--json FILE]

An operator launches one kernel or a few, each of which costs the host 4 to 8 microseconds: a small model waits for
that, not for the GPU. Views and allocations launch nothing and are not counted. Making the batch is counted on the meta
device, which takes the code of a GPU; forward, backward, clip, optimizer and averages on the CPU in bfloat16, where
they are the same code. "captured" is one replay and what the host launches beside it.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from gpu import FASHION, TINY, random_images

from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import ImageSet
from hwcls.data.loader import Batch, Feed, Step
from hwcls.models.dispatch_mode import LightDispatchMode, operation_name
from hwcls.training.built_model import build_model
from hwcls.training.distributed import World
from hwcls.training.step.graph import WARM_UP
from hwcls.training.step.precision import Precision
from hwcls.training.trainer import Trainer

BATCH = 16  # the numbers do not depend on it
NO_KERNEL = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "detach", "_unsafe_view"}
SYNCS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal", "repeat_interleave"}
EVERYTHING = {"mixup": 0.2, "cutmix": 1.0, "erase": 0.5, "trivial": True, "brightness": 0.2, "contrast": 0.2}
EVERYTHING |= {"saturation": 0.2, "hue": 0.1, "crop": 4, "hflip": True, "cutout": 8, "rotate": 10}
STEPS: dict[str, tuple[tuple[int, int, int, int], dict[str, Any], dict[str, Any]]] = {
    "simple_cnn": (FASHION, {"name": "simple_cnn"}, {"crop": 2, "hflip": True}),
    "resnet18": (TINY, {"name": "timm", "backbone": "resnet18"}, {"crop": 4, "hflip": True}),
    "efficientnet_b0": (TINY, {"name": "timm", "backbone": "efficientnet_b0"}, {"crop": 4, "hflip": True}),
    "simple_cnn, trivial": (FASHION, {"name": "simple_cnn"}, {"trivial": True}),
    "resnet18, everything": (TINY, {"name": "timm", "backbone": "resnet18"}, EVERYTHING),
}


class Launches(LightDispatchMode):
    """Counts the operators that would launch kernels, and those for whose result the host waits."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation_name(func)
        if not func.is_view and name not in NO_KERNEL and not name.startswith("profiler::"):
            self.found[name] += 1
        return func(*args, **(kwargs or {}))

    @property
    def total(self) -> int:
        """All launches."""
        return sum(self.found.values())

    @property
    def syncs(self) -> int:
        """Operators for whose result the host waits."""
        return sum(count for name, count in self.found.items() if name in SYNCS)


def build(shape: tuple[int, int, int, int], model: dict[str, Any], augment: dict[str, Any]) -> tuple[Trainer, Feed]:
    """A trainer on the CPU in bfloat16, with clipping and averaged weights, and a feed on the meta device."""
    data: ImageSet = random_images(shape, 4 * BATCH)
    config = TrialConfig.from_dict(
        {
            "data": {"name": "random", "batch_size": BATCH, "augment": augment},
            "model": model,
            "optimizer": {"name": "adamw", "lr": 0.001},
            "clip": 1.0,
            "ema": 0.99,
            "epochs": 2,
        }
    )
    world = World(device=torch.device("cpu"))
    feed = Feed(data, config.data, seed=0, device=world.device)
    trainer = Trainer(config, data, build_model(config, data, world.device), feed, world, None, BATCH)
    trainer.accumulator.precision = Precision(bf16=True, device="cpu")
    return trainer, Feed(data, config.data, seed=0, device=torch.device("meta"))


def count(trainer: Trainer, feed: Feed) -> tuple[Launches, Launches]:
    """What making a batch launches, and what training on it does."""
    next(feed.train(1))  # draws the plan
    positions = torch.arange(BATCH, device="meta")
    with Launches() as making:
        batch = feed.batch_at(positions)
    trainer.model.train()
    trainer.train_epoch(1)  # the optimizer has its state after it
    made = Batch(
        torch.zeros(batch.images.shape).contiguous(memory_format=torch.channels_last),
        torch.zeros(BATCH, dtype=torch.int64),
        torch.arange(BATCH),
        None if batch.other is None else torch.zeros(BATCH, dtype=torch.int64),
        None if batch.share is None else torch.ones(BATCH),
    )
    with Launches() as training:
        trainer.step.run(Step(BATCH, 1, iter([made])), 0, lambda: None)
    return making, training


def count_replay(trainer: Trainer) -> Launches:
    """What a captured step launches beside its replay: it gets its positions and the schedules' numbers."""
    step = trainer.step
    step.capture(trainer.feed)
    step.rates = [torch.zeros(()) for _ in step.optimizer.param_groups]  # as on a GPU
    assert step.graph is not None
    step.graph.calls, step.graph.replay = WARM_UP + 1, lambda: None
    with Launches() as found:
        step.run(Step(BATCH, 1, iter(()), 0), 0)
    return found


def measure(name: str) -> dict[str, Any]:
    """One row of the table."""
    trainer, feed = build(*STEPS[name])
    making, training = count(trainer, feed)
    return {
        "step": name,
        "batch": making.total,
        "training": training.total,
        "eager": making.total + training.total,
        "captured": 1 + count_replay(trainer).total,
        "syncs": making.syncs + training.syncs,
        "operators": (making.found + training.found).most_common(),
    }


def main() -> None:
    """Print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(name) for name in options.only]
    print(f"{'step':24s}{'batch':>8s}{'training':>10s}{'eager':>8s}{'captured':>10s}{'syncs':>8s}")
    for row in rows:
        columns = f"{row['batch']:8d}{row['training']:10d}{row['eager']:8d}{row['captured']:10d}{row['syncs']:8d}"
        print(f"{row['step']:24s}{columns}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
