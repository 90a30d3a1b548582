"""The time between two trials, by phase: python benchmarks/turnaround.py

Runs a sweep of SimpleCNN on digits on warm groups of one worker and of two, W&B offline, and prints the medians over
the trials (the first of each group, which starts its processes, is shown separately). A trial's turnaround is the time
from the last step of the trial before it on the same ranks to its first step: `wait` is the time of Tune, the search
and the records; `data` and `model` are the time of the ranks to open the data and to build model and optimizer.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median

import yaml

from hwcls.config.sweep_file import load_sweep
from hwcls.sweep import driver
from hwcls.sweep.monitor.progress import Quiet

PHASES = ("wait", "data", "model")
SWEEP = {
    "name": "turnaround",
    "run_cap": 24,
    "parameters": {
        "data": {"name": "digits", "batch_size": 64},
        "model": {"name": "simple_cnn", "width": {"values": [8, 16, 32]}},
        "optimizer": {"name": "adam", "lr": {"min": 1e-4, "max": 1e-2, "log": True}},
        "epochs": 3,
    },
}


def measure(workers: int, trials: int) -> list[dict[str, float]]:
    """The phases of each trial, in seconds, in the order of the trials."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "turnaround.yaml")
        path.write_text(
            yaml.safe_dump({**SWEEP, "run_cap": trials, "resources": {"workers": workers, "concurrent": 1}})
        )
        options = driver.Options(results=Path(folder), wandb="offline")
        outcome = driver.run(load_sweep(path), options, lambda *_: Quiet())
        results = [trial.result() for trial in outcome.folder.trials().values()]
        return [result.extra["turnaround"] for result in results if result]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    table = {}
    print(f"{'workers':8}" + "".join(f"{phase:>9}" for phase in (*PHASES, "total")) + "   seconds, median")
    for workers in (1, 2):
        first, *later = measure(workers, options.trials)
        row = {phase: median(trial[phase] for trial in later) for phase in PHASES}
        row["total"] = median(sum(trial.values()) for trial in later)
        table[workers] = {**row, "first": sum(first.values())}
        print(
            f"{workers:<8}"
            + "".join(f"{row[phase]:9.3f}" for phase in (*PHASES, "total"))
            + f"   (first trial {sum(first.values()):.1f})"
        )
    if options.json:
        options.json.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
