"""How well `hwcls sweep FILE --dry-run` predicts the time of a sweep. Run by hand, on two idle CPU cores in 20 minutes.

    HWCLS_DATA=... python benchmarks/estimate.py [--only NAME ...] [--json FILE]

Each of the small sweeps below is estimated first and then run, as a user would. `command` is its wall time;
`trials` is the sum of the seconds in which trials train, which times the GPUs of a trial is the GPU-hours; `epochs` are
theirs. With --json the rows are added to those in FILE, so that the sweeps can be run in several parts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from hwcls.tracking.folders import SweepFolder

ADAM = {"name": "adam", "lr": {"min": 1e-4, "max": 1e-2, "log": True}}
DIGITS = {"name": "digits", "batch_size": {"values": [16, 32, 64]}}
MLP = {"name": "mlp", "width": {"values": [64, 256]}, "depth": {"min": 1, "max": 3}}
CNN = {"name": "simple_cnn", "width": {"values": [8, 16]}}
RESIDUAL = {"name": "residual_cnn", "width": 8, "blocks": {"min": 2, "max": 3}}
TIMM = {"name": "timm", "backbone": {"values": ["test_resnet", "test_efficientnet"]}}


def fashion(per_class: int, batch: Any = 64) -> dict[str, Any]:
    """A part of Fashion-MNIST."""
    return {"name": "fashion_mnist", "per_class": per_class, "batch_size": batch}


def trials(data: Any, model: Any, epochs: int, **others: Any) -> dict[str, Any]:
    """A sweep file's parameters; several models are alternatives."""
    model = model if "name" in model else {"choice": model}
    return {"data": data, "model": model, "optimizer": ADAM, "epochs": epochs, **others}


FIGURES = {
    "seconds": "the time of the command",
    "trial_seconds": "the time of its trials",
    "epochs": "their epochs, which no other load on the machine changes",
}

SWEEPS: dict[str, dict[str, Any]] = {
    "digits-asha": {
        "run_cap": 16,
        "compare": "model",
        "early_terminate": {"type": "asha", "eta": 3},
        "parameters": trials(DIGITS, {"cnn": CNN, "mlp": MLP}, 15),
    },
    "digits-random": {"method": "random", "run_cap": 10, "parameters": trials(DIGITS, MLP, 20)},
    "digits-grid": {
        "method": "grid",
        "parameters": trials(
            DIGITS, {"cnn": {**CNN, "depth": {"values": [1, 2]}}, "mlp": {**MLP, "depth": 2}}, 8, optimizer="adam"
        ),
    },
    "digits-confirm": {
        "run_cap": 6,
        "compare": "model",
        "confirm": {"top": 2, "seeds": 3},
        "parameters": trials(DIGITS, {"cnn": CNN, "mlp": MLP}, 10),
    },
    "digits-stopping": {
        "method": "tpe",
        "run_cap": 16,
        "early_terminate": {"type": "asha", "rule": "stopping"},
        "parameters": trials(DIGITS, MLP, 18),
    },
    "digits-folds": {
        "run_cap": 8,
        "early_terminate": {"type": "asha"},
        "confirm": {"top": 2, "seeds": 4, "splits": "folds"},
        "parameters": trials(DIGITS, CNN, 10),
    },
    "digits-splits": {
        "method": "gp",
        "run_cap": 12,
        "compare": "model",
        "early_terminate": {"type": "asha"},
        "confirm": {"top": 2, "seeds": 3, "splits": 3},
        "parameters": trials(DIGITS, {"cnn": CNN, "mlp": MLP}, 9),
    },
    "digits-budget": {"budget": "40s", "parameters": trials(DIGITS, CNN, 12)},
    "digits-workers": {
        "method": "random",
        "run_cap": 6,
        "resources": {"workers": 2},
        "confirm": {"top": 1, "seeds": 2},
        "parameters": trials(DIGITS, CNN, 10),
    },
    "fashion-median": {
        "run_cap": 14,
        "compare": "model",
        "early_terminate": {"type": "median", "min_iter": 2},
        "parameters": trials(fashion(80), {"cnn": CNN, "residual": RESIDUAL}, 6),
    },
    "fashion-hyperband": {
        "method": "random",
        "run_cap": 20,
        "early_terminate": {"type": "hyperband", "eta": 3},
        "parameters": trials(fashion(100, {"values": [32, 128]}), CNN, 9),
    },
    "fashion-timm": {"method": "random", "run_cap": 8, "parameters": trials(fashion(60), TIMM, 4)},
    "fashion-workers": {
        "run_cap": 9,
        "early_terminate": {"type": "asha"},
        "resources": {"workers": 2},
        "parameters": trials(fashion(150), CNN, 8),
    },
    "fashion-threads": {
        "run_cap": 6,
        "resources": {"cpus_per_worker": 2},
        "parameters": trials(fashion(80), RESIDUAL, 4),
    },
    "fashion-budget": {
        "budget": "30s",
        "compare": "model",
        "early_terminate": {"type": "asha", "min_iter": 1},
        "confirm": {"top": 1, "seeds": 2},
        "parameters": trials(fashion(100), {"cnn": CNN, "mlp": MLP}, 6),
    },
}


def measure(name: str) -> dict[str, Any]:
    """One row: the estimated and the real time of a sweep."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"{name}.yaml")
        file.write_text(yaml.safe_dump({"name": name, "track": [], **SWEEPS[name]}))
        found = json.loads(_hwcls("sweep", str(file), "--dry-run", "--json")[0])["estimate"]
        seconds = _hwcls("sweep", str(file), "--wandb", "off", "--results", folder)[1]
        opened = SweepFolder(Path(folder, name))
        runs = [*opened.trials().values(), *opened.confirm_runs().values()]
        trained = sum(result.seconds for run in runs if (result := run.result()))
        epochs = sum(run.last_epoch() for run in runs)
        rows = {"seconds": seconds, "trial_seconds": trained, "epochs": epochs}
        return {"name": name, **{key: {"range": found[key], "real": real} for key, real in rows.items()}}


def _hwcls(*arguments: str) -> tuple[str, float]:
    """The output of a command, and the seconds from its start to its end."""
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "hwcls", *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout, time.monotonic() - started


def inside(figure: dict[str, Any]) -> bool:
    """Whether the measured value is in the estimated range."""
    low, high = figure["range"]
    return bool(low <= figure["real"] <= high)


def show(row: dict[str, Any]) -> None:
    """Print a line of the table, of each figure: its range, the real value, real / middle of the range."""
    cells = []
    for key in FIGURES:
        low, high = row[key]["range"]
        cells.append(f"{low:7.0f} to {high:4.0f}{row[key]['real']:7.0f} {'in ' if inside(row[key]) else 'out'}")
        cells.append(f"{2 * row[key]['real'] / (low + high):5.2f}")
    print(f"{row['name']:18}" + " ".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SWEEPS, default=list(SWEEPS), metavar="NAME")
    parser.add_argument("--json", type=Path, help="add the rows to this file")
    options = parser.parse_args()
    rows = {}
    if options.json and options.json.exists():
        rows = {row["name"]: row for row in json.loads(options.json.read_text())}
    heads = [f"{head:>15}{'real':>7}{'':10}" for head in ("command, s", "trials, s", "epochs")]
    print(f"{'':18}{' '.join(heads)}  real / middle of the range")
    for name in options.only:
        rows[name] = measure(name)
        show(rows[name])
        if options.json:
            options.json.write_text(json.dumps(list(rows.values()), indent=2) + "\n")
    for key, words in FIGURES.items():
        measured = [row[key] for row in rows.values() if key in row]  # an earlier version's rows may lack one
        print(f"{words}: in the estimated range in {sum(map(inside, measured))} of {len(measured)} sweeps")


if __name__ == "__main__":
    main()
