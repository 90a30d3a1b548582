"""The same sweep with hwcls, with Ray's Tune + TorchTrainer, and with Optuna in one process. Run by hand, on Linux.

    HWCLS_DATA=... python benchmarks/sweep.py [--seconds 10] [--trials 30] [--only NAME ...] [--json FILE]

Each searches one space of SimpleCNN on Fashion-MNIST: the same settings tried, splits, epochs, batch, crop and flip,
and ASHA; contenders.py holds the other two. A trial has so many images that Optuna's loop would train all its epochs
in `--seconds` here, which is measured first. The clock runs from the start of the command to its end, with a
fresh home and cache; CPU time is that of every process that it starts. `idle` is the time per trial
in which a slot, one for each trial that runs at once, trains nothing. Results are added to FILE: once it has two sizes,
the script prints up to which trial length hwcls is twice as fast, and from which one on orchestration does not matter.

Ray's contender needs ray[default]: where Train cannot ask Ray's dashboard, a trial that ASHA stops keeps its worker's
CPU for ever, and the next one never starts.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import processes
import yaml
from contenders import draw

from hwcls.config.data import DataConfig
from hwcls.data.imageset import open_data
from hwcls.sweep.cluster.resources import usable_cpus

HERE = Path(__file__).parent
NAMES = {"hwcls": "hwcls", "tune": "Ray Tune + TorchTrainer", "optuna": "Optuna, one process"}
EPOCHS, GRACE, ETA, BATCH = 9, 3, 3, 128
PROBE = 2000  # training images on which the loop is timed
GAIN, LITTLE = 2.0, 0.05  # what the break-even is about: hwcls's gain, and a share of the wall time

Sizes = dict[float, dict[str, dict[str, float]]]  # seconds of a trial; contender


def sweep_file(settings: list[dict[str, Any]], trials: int, per_class: int, grace: int) -> dict[str, Any]:
    """What hwcls runs; contenders.draw is the same space."""
    augment = {"crop": 2, "hflip": True}
    return {
        "name": "headline",
        "run_cap": trials,
        "early_terminate": {"type": "asha", "min_iter": grace, "eta": ETA},
        "track": [],
        **({"first": settings} if settings else {}),
        "parameters": {
            "data": {"name": "fashion_mnist", "batch_size": BATCH, "per_class": per_class, "augment": augment},
            "model": {"name": "simple_cnn", "width": {"values": [16, 32]}},
            "optimizer": {
                "weight_decay": {"min": 1e-6, "max": 1e-2, "log": True},
                "choice": {
                    "adamw": {"lr": {"min": 1e-4, "max": 1e-2, "log": True}},
                    "sgd": {"lr": {"min": 1e-3, "max": 1e-1, "log": True}, "momentum": 0.9},
                },
            },
            "scheduler": {"name": "constant"},
            "epochs": EPOCHS,
        },
    }


def settings_of(trials: int) -> list[dict[str, Any]]:
    """The settings that every contender trains, drawn once so that chance does not decide."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    asked = [study.ask() for _ in range(trials)]
    for trial in asked:
        draw(trial)
    return [trial.params for trial in asked]


def specification(
    settings: list[dict[str, Any]], trials: int, per_class: int, loaders: int, grace: int = GRACE
) -> dict[str, Any]:
    """The sweep as contenders.py reads it, with hwcls's file in it; beyond `settings` each draws its own."""
    data = open_data(DataConfig(name="fashion_mnist", per_class=per_class))
    return {
        "settings": settings,
        "trials": trials,
        "sweep": sweep_file(settings, trials, per_class, grace),
        "data": os.environ["HWCLS_DATA"],
        "train": data.train.rows.tolist(),
        "val": data.val.rows.tolist(),
        "mean": data.mean,
        "std": data.std,
        "batch": BATCH,
        "epochs": EPOCHS,
        "grace": grace,
        "eta": ETA,
        "loaders": loaders,
        "concurrent": max(1, usable_cpus() // 2),  # a trial takes a CPU for its driver and one for its worker
    }


def started(name: str, spec: dict[str, Any], folder: Path) -> tuple[list[str], dict[str, str]]:
    """The command and the environment of a contender, whose files lie in `folder`."""
    write_task(spec, folder)
    other = [str(HERE / "contenders.py"), name, str(folder / "spec.json")]
    return [sys.executable, *(hwcls_sweep(folder) if name == "hwcls" else other)], environment(folder)


def write_task(spec: dict[str, Any], folder: Path) -> None:
    """The files that a contender reads, and its home; its results will be in `folder`/headline."""
    (folder / "home").mkdir(parents=True)
    (folder / "spec.json").write_text(json.dumps({**spec, "out": str(folder / "headline")}), encoding="utf-8")
    (folder / "sweep.yaml").write_text(yaml.safe_dump(spec["sweep"], sort_keys=False), encoding="utf-8")


def hwcls_sweep(folder: Path) -> list[str]:
    """What Python runs for hwcls."""
    return ["-m", "hwcls", "sweep", str(folder / "sweep.yaml"), "--results", str(folder), "--wandb", "off"]


def environment(folder: Path) -> dict[str, str]:
    """With a home and a cache of its own, and this checkout of hwcls first."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "RAY_", "WANDB_"))}
    path = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    own = {"HOME": str(folder / "home"), "HWCLS_CACHE": str(folder / "cache"), "PYTHONPATH": path}
    return {**kept, **own, "RAY_TRAIN_V2_ENABLED": "1", "RAY_USAGE_STATS_ENABLED": "0"}


def records(results: Path) -> list[list[dict[str, Any]]]:
    """The epochs of each trial that has ended one."""
    found = [path.read_text("utf-8").splitlines() for path in results.glob("trials/*/metrics.jsonl")]
    return [[json.loads(line) for line in lines] for lines in found if lines]


def measure(name: str, spec: dict[str, Any], folder: Path) -> dict[str, float]:
    """A contender's row of the table."""
    results, log, first = folder / "headline", folder / "log.txt", []

    def look(_: float) -> None:
        if not first and (found := records(results)):
            first.append(time.time() - found[0][0]["seconds"])

    done = processes.run(*started(name, spec, folder), log, look)
    trials = records(results)
    if done.code or len(trials) < len(spec["settings"]):
        last_words = "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-30:])
        raise SystemExit(f"{last_words}\n{name} ends with {done.code}, and {len(trials)} trials have an epoch")
    best = [max(line["val/accuracy"] for line in trial) for trial in trials]
    last = max(path.stat().st_mtime for path in results.glob("trials/*/metrics.jsonl"))
    slots = {"hwcls": usable_cpus(), "tune": spec["concurrent"], "optuna": 1}[name]
    training = sum(line["seconds"] for trial in trials for line in trial)
    return {
        "trials": len(trials),
        "epochs": sum(map(len, trials)),
        "wall": done.wall,
        "cpu_seconds": done.cpu,
        "trials_per_hour": 3600 * len(trials) / done.wall,
        "best": max(best),
        "mean_best": statistics.mean(best),
        "start": first[0] - done.started,  # to the first step
        "end": done.started + done.wall - last,  # from the last epoch on
        "idle": (slots * done.wall - training) / len(trials),
    }


def images_per_class(images: int) -> int:
    """So many images of each class that a trial trains on `images`; a tenth of them are val."""
    return max(2, round(images / 0.9 / 10))


def images_for(seconds: float, loaders: int, scratch: Path) -> int:
    """So many training images that the loop takes `seconds` for all epochs of them, data and validation included."""
    spec = {**specification(settings_of(1), 1, images_per_class(PROBE), loaders), "epochs": 3}
    command, variables = started("probe", spec, scratch / "probe")
    subprocess.run(command, env=variables, check=True)
    epochs = [line["seconds"] for trial in records(scratch / "probe" / "headline") for line in trial[1:]]
    return round(PROBE * seconds / EPOCHS / statistics.mean(epochs))


def show(rows: dict[str, dict[str, float]]) -> None:
    """The table; next to each figure its ratio to that of hwcls."""
    columns = {"wall": "wall s", "cpu_seconds": "CPU-s", "trials_per_hour": "trials/h", "best": "best val"}
    columns |= {"mean_best": "mean best", "epochs": "epochs", "start": "start s", "end": "end s", "idle": "idle s"}
    print(f"{'':24}" + "".join(f"{title:>16}" for title in columns.values()))
    ours = rows.get("hwcls")
    for name, row in rows.items():
        cells = [f"{row[key]:.4f}" if "best" in key else f"{row[key]:.1f}" for key in columns]
        ratios = [f" {row[key] / ours[key]:5.2f}x" if ours else "" for key in columns]
        print(f"{NAMES[name]:24}" + "".join(f"{a + b:>16}" for a, b in zip(cells, ratios, strict=True)))


def break_even(sizes: Sizes) -> list[str]:
    """Extrapolate to trials of any length, in sweeps of as many trials as the shortest had.

    Wall time per trial is (start + end) / trials + turnaround + factor x length, the last two by least squares and the
    turnaround 0 at least: few long trials leave a slot empty at the end. The length is that of the epochs that were
    trained: early stopping cuts many trials shorter than few.
    """
    trials = next(iter(sizes[min(sizes)].values()))["trials"]
    fixed, factor, lines = {}, {}, []
    for name in NAMES:
        rows = {length: found[name] for length, found in sizes.items() if name in found}
        if len(rows) < 2:
            continue
        around = statistics.mean(row["start"] + row["end"] for row in rows.values())
        walls = [(row["wall"] - row["start"] - row["end"]) / row["trials"] for row in rows.values()]
        trained = [length * row["epochs"] / row["trials"] / EPOCHS for length, row in rows.items()]
        factor[name], turnaround = np.polyfit(trained, walls, 1)
        fixed[name] = around / trials + max(0.0, turnaround)
        long = fixed[name] / factor[name] * (1 / LITTLE - 1)
        cost = f"{fixed[name]:.1f} s a trial plus {factor[name]:.2f} s per second of training"
        lines.append(f"{NAMES[name]}: {cost}; it is {LITTLE:.0%} of the wall time at trials of {long:.0f} s")
    for name in factor if "hwcls" in factor else ():
        if name != "hwcls":
            more, slope = fixed[name] - GAIN * fixed["hwcls"], GAIN * factor["hwcls"] - factor[name]
            lines.append(f"hwcls gains {GAIN:g}x on {NAMES[name]} {_where(more, slope)}")
    return lines


def _where(more: float, slope: float) -> str:
    """Where more - slope x length is at least 0."""
    if more >= 0:
        return f"at trials of up to {more / slope:.0f} s" if slope > 0 else "at trials of any length"
    return f"at trials of {more / slope:.0f} s and more" if slope < 0 else "at no length of trials"


def main() -> None:
    """Print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of training a trial to its end")
    parser.add_argument("--trials", type=int, help="default: 30, or 3 where a trial takes a minute or more")
    parser.add_argument("--images", type=int, help="that a trial trains on, instead of measuring how many")
    parser.add_argument("--loaders", type=int, default=2, help="worker processes of each DataLoader")
    parser.add_argument("--only", choices=NAMES, action="append", help="these contenders (repeatable)")
    parser.add_argument("--json", type=Path, help="where the figures stand, of other sizes too")
    options = parser.parse_args()
    if not Path(os.environ.get("HWCLS_DATA", ""), "FashionMNIST", "raw").is_dir():
        raise SystemExit("HWCLS_DATA names no folder with FashionMNIST/raw in it")
    if "tune" in (options.only or NAMES) and importlib.util.find_spec("opencensus") is None:
        raise SystemExit(
            "Ray Tune + TorchTrainer needs more of Ray: pip install 'ray[default]', or leave it out by --only"
        )
    trials = options.trials or (30 if options.seconds < 60 else 3)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HWCLS_CACHE"] = str(Path(scratch, "cache"))
        images = options.images or images_for(options.seconds, options.loaders, Path(scratch))
        spec = specification(settings_of(trials), trials, images_per_class(images), options.loaders)
        print(f"{trials} trials of {EPOCHS} epochs on {len(spec['train'])} images, {usable_cpus()} CPUs", flush=True)
        rows = {name: measure(name, spec, Path(scratch, name)) for name in options.only or NAMES}
    show(rows)
    recorded = json.loads(options.json.read_text("utf-8")) if options.json and options.json.exists() else {}
    recorded[f"{options.seconds:g}"] = {**recorded.get(f"{options.seconds:g}", {}), **rows}
    if options.json:
        options.json.write_text(json.dumps(recorded, indent=2) + "\n", encoding="utf-8")
    for sentence in break_even({float(length): found for length, found in recorded.items()}):
        print(sentence)


if __name__ == "__main__":
    main()
