"""Heavy: kill -9 at random moments of a sweep with TPE and early stopping, until it ends."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.heavy
ROOT = Path(__file__).parents[2]
SWEEP = {
    "name": "faults",
    "run_cap": 8,
    "compare": "model",
    "early_terminate": {"type": "asha", "min_iter": 3, "eta": 2},
    "confirm": {"top": 1, "seeds": 2},
    "parameters": {
        "data": {"name": "digits", "batch_size": 16},
        "model": {"choice": {"mlp": {"width": 64}, "cnn": {"name": "simple_cnn", "width": 8}}},
        "optimizer": {"name": "adam", "lr": {"min": 1e-4, "max": 1e-2, "log": True}},
        "epochs": 12,
    },
}


@pytest.mark.parametrize("seed", range(3))
def test_a_sweep_survives_any_kill(tmp_path, seed):
    """Up to five kills at moments drawn from 5 to 60 s; afterwards every trial is complete and there once."""
    draw = random.Random(seed)
    path = tmp_path / "faults.yaml"
    path.write_text(yaml.safe_dump(SWEEP, sort_keys=False))
    command = [sys.executable, "-m", "hwcls", "sweep", str(path), "--results", str(tmp_path), "--wandb", "offline"]
    for _ in range(5):
        process = subprocess.Popen(
            command, cwd=ROOT, env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + draw.uniform(5, 60)
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        process.kill()
        process.wait()
    last = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert last.returncode == 0, last.stdout + last.stderr
    folder = tmp_path / "faults"
    trials = sorted(folder.glob("trials/*"))
    runs = sorted(folder.glob("confirm/*/*"))
    assert (len(trials), len(runs)) == (8, 4)
    labels = []
    for trial in trials + runs:
        result = json.loads((trial / "result.json").read_text())
        lines = [json.loads(line) for line in (trial / "metrics.jsonl").read_text().splitlines()]
        epochs = [line["epoch"] for line in lines if "epoch" in line]
        assert epochs == list(range(1, len(epochs) + 1))
        assert result["status"] == ("complete" if len(epochs) == 12 else "stopped")
        assert (trial / "best.safetensors").exists()
        labels.append(result["label"])
    assert labels[:8].count("mlp") == labels[:8].count("cnn") == 4
    assert len(list((folder / "wandb").glob("offline-run-*"))) == 12
