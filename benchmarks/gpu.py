"""Training speed on one GPU, beside other loops and beside the GPU's peak. Run by hand.

    python benchmarks/gpu.py [--only PART[/ITEM] ...] [--json gpu.json] [--limit 300]

It needs no network, no data set, and neither Ray nor Optuna nor W&B: beside torch, torchvision, timm and numpy only
pydantic, pydantic-core, annotated-types, typing-inspection, PyYAML, filelock, simplejpeg and safetensors, which can be
carried along as wheels. Images are random, of real shapes: 100,000 of 64x64x3 in 200 classes, 60,000 of 28x28x1 in 10,
50,000 of 32x32x3 in 10. Each row is kept in the JSON file as soon as it is measured, and is not measured again; a
part ends after `--limit` seconds, and the same command measures what is left.

steps        hwcls's steps, each kernel launched by the host, in a CUDA graph, compiled, and both: images/s, their share
             of the peak (an image costs three forward passes), launches of the host and kernels a step, the share of
             time in which the GPU is busy (kernels of 20 steps by torch.profiler, against steps without it), memory,
             and the seconds of the start
loops        the same beside the PyTorch tutorial's loop, Lightning's, timm's and torchvision's reference
processes    1, 2, 4 and 8 processes that train SimpleCNN side by side: images/s and trials per hour of all
epochs       complete epochs, and the shares of evaluation and checkpoints (one in 10 s)
turnaround   from the last step of a trial to the first of the next, in a warm process
checks       memory that runs out, a split larger than the GPU, repeated and resumed trainings, bfloat16 against
             float32, a checkpoint, and `workers: 2`

Ten minutes on a GPU, what matters first, each with --json gpu.json:

    python benchmarks/gpu.py --only steps/simple_cnn steps/resnet18 --limit 120
    python benchmarks/gpu.py --only checks --limit 120
    python benchmarks/gpu.py --only processes --limit 110
    python benchmarks/gpu.py --only turnaround epochs --limit 50
    python benchmarks/gpu.py --only loops --limit 120
    python benchmarks/gpu.py --only steps/resnet18-small steps/efficientnet_b0

`--device cpu --images 256 --batch 32 --seconds 0.2` shows that it runs; what needs a GPU is left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # of this checkout, whether it is installed or not

from benchmarks.on_gpu.inputs import FASHION, MODELS, TINY, Setting, random_images
from benchmarks.on_gpu.parts import PARTS
from benchmarks.on_gpu.results import Results, describe_machine
from benchmarks.on_gpu.run import run_part
from benchmarks.on_gpu.table import GOALS, header, line
from hwcls.errors import UserError

__all__ = ["FASHION", "MODELS", "TINY", "main", "random_images"]


def choose_items(only: Sequence[str]) -> list[str]:
    """PART/ITEM of all items that a word of `only` names, or names the beginning of; without any, all."""
    every = [f"{name}/{item}" for name, part in PARTS.items() for item in part.items]
    for word in only:
        if not any(_names(word, item) for item in every):
            raise UserError(f"there is no {word}", where="--only", remedy=f"known: {', '.join([*PARTS, *every])}")
    return [item for item in every if not only or any(_names(word, item) for word in only)]


def _names(word: str, item: str) -> bool:
    return item == word or item.startswith(f"{word.rstrip('/')}/")


def run(items: Sequence[str], results: Results, setting: Setting, limit: float) -> None:
    """Measure the items part by part and print each row as it comes."""
    for name, part in PARTS.items():
        own = [item for item in items if item.startswith(f"{name}/")]
        if not own:
            continue
        print(header(name, part), flush=True)
        missing = [item.removeprefix(f"{name}/") for item in results.missing(own)]
        for item in own:
            if (short := item.removeprefix(f"{name}/")) not in missing:
                print(line(short, results.rows[item], part), flush=True)
        for item, row in run_part(name, missing, setting, limit):
            results.add(f"{name}/{item}", row)
            print(line(item, row, part), flush=True)
        if left := results.missing(own):
            print(f"not measured: {', '.join(left)}; the same command measures them", flush=True)
        print()


def without_gpu(items: Sequence[str]) -> list[str]:
    """Those that a CPU can run; raises UserError where there is none."""
    left_out = [item for item in items if item.split("/", 1)[1] in PARTS[item.split("/")[0]].gpu_only]
    if len(left_out) == len(items):
        raise UserError(f"needs a GPU: {', '.join(items)}")
    if left_out:
        print(f"left out, as it needs a GPU: {', '.join(left_out)}\n")
    return [item for item in items if item not in left_out]


def open_device(name: str) -> torch.device:
    """The device; raises UserError where there is none."""
    if name != "cpu" and not torch.cuda.is_available():
        raise UserError("no GPU here: torch sees none", remedy="--device cpu only shows that the script runs")
    return torch.device("cpu") if name == "cpu" else torch.device("cuda", 0)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="PART[/ITEM]")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--images", type=int, help="of each data set, instead of the real numbers")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds of each part")
    parser.add_argument("--loaders", type=int, help="processes of a DataLoader; by default one per core, up to 16")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"))
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables and write the JSON; exit 2 where there is no such device."""
    options = parse(arguments)
    try:
        device = open_device(options.device)
        loaders = {} if options.loaders is None else {"loaders": options.loaders}
        setting = Setting(device, options.batch, options.images, options.seconds, **loaders)
        items = choose_items(options.only)
        results = Results(options.json, describe_machine(setting))
        run(items if setting.cuda else without_gpu(items), results, setting, options.limit)
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    for text in filter(None, (goal.line(results.rows) for goal in GOALS if setting.cuda)):
        print(text)


if __name__ == "__main__":
    main()
