"""Small results folders, written as a sweep writes them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hwcls import files
from hwcls.config.trial import TrialConfig
from hwcls.tracking.records import EpochRecord, Result, SweepFolder, TrialFolder

SETTINGS = {
    "name": "tiny",
    "project": "hwcls",
    "metric": {"name": "val/accuracy", "goal": "maximize"},
    "method": "tpe",
    "run_cap": 6,
    "compare": "model",
    "early_terminate": {"type": "asha", "min_iter": 2, "eta": 3},
}
DATA = {"name": "digits", "classes": ["0", "1", "2"], "train": 120, "val": 30, "test": 60, "per_class": [39, 41]}
ENVIRONMENT = {
    "command": ["hwcls", "sweep", "sweeps/tiny sweep.yaml"],
    "git": {"commit": "abc1234", "dirty": False},
    "versions": {"hwcls": "0.1", "torch": "2.11"},
    "hardware": {"cpus": 2, "gpus": None},
    "started": "2026-01-02T03:04:05",
}


def write_sweep(path: Path, **settings: Any) -> SweepFolder:
    """A results folder without a trial."""
    files.write_yaml(path / "sweep.yaml", SETTINGS | settings)
    files.write_json(path / "data.json", DATA)
    files.write_json(path / "environment.json", ENVIRONMENT)
    return SweepFolder(path)


def write_trial(
    folder: TrialFolder,
    accuracy: list[float],
    *,
    label: str | None = "resnet",
    status: str | None = "complete",
    lr: float = 0.01,
    error: str | None = None,
    **extra: Any,
) -> None:
    """A trial with one epoch per entry of `accuracy`; without `status` it is in mid-run."""
    model = {"name": "mlp", "label": label}
    folder.write_config(
        TrialConfig.from_dict({"data": {"name": "digits"}, "model": model, "optimizer": {"name": "adam", "lr": lr}})
    )
    for epoch, value in enumerate(accuracy, 1):
        metrics = {
            "train/loss": 1.5 - value,
            "train/accuracy": value + 0.01,
            "val/loss": 1.6 - value,
            "val/accuracy": value,
        }
        folder.append(EpochRecord(epoch, metrics, lr=lr, seconds=0.5, images_per_second=240.0).to_dict())
    if error:
        folder.write_error(f"Traceback\n{error}\n")
    if status is None:
        return
    good = [value for value in accuracy if np.isfinite(value)]
    best = {"epoch": accuracy.index(max(good)) + 1, "val/accuracy": max(good)} if good else None
    parameters = {"model": label, "lr": lr} if label else {"lr": lr}
    folder.write_result(Result(status, best, label, parameters, 0.6 * len(accuracy), error=error, extra=extra))


def write_confirm(
    sweep: SweepFolder,
    label: str,
    hit_rate: float,
    *,
    seeds: int = 5,
    images: int = 400,
    trial: int = 0,
    first: int = 1000,
    val: float = 0.6,
) -> None:
    """`seeds` scored confirm runs of `label`, each right on about `hit_rate` of the same test images."""
    rng = np.random.default_rng(sum(label.encode()))
    truth = np.arange(images) % 3
    for seed in range(seeds):
        folder = sweep.confirm_run(label, first + seed)
        guess = np.where(rng.random(images) < hit_rate, truth, (truth + 1) % 3)
        scores = np.eye(3, dtype=np.float16)[guess]
        test = {"test/accuracy": float((guess == truth).mean()), "test/loss": 0.3}
        write_trial(folder, [0.5, val], label=label, trial=trial, test=test)
        folder.append(test)
        files.write_with(
            folder.path / "test_predictions.npz", lambda f, t=truth, s=scores: np.savez(f, labels=t, scores=s)
        )


def full_sweep(path: Path, **settings: Any) -> SweepFolder:
    """Two alternatives, and of everything that can befall a trial one."""
    sweep = write_sweep(path, **settings)
    write_trial(sweep.trial(0), [0.5, 0.7, 0.65], lr=0.01)
    write_trial(sweep.trial(1), [0.4, 0.9, 0.8], label="mlp", lr=0.1)
    write_trial(sweep.trial(2), [0.3], status="stopped", lr=1.0)
    write_trial(sweep.trial(3), [0.2], status="failed", label="mlp", lr=2.0, error="loss is NaN")
    write_trial(sweep.trial(4), [0.6, 0.72], status=None, lr=0.02)
    write_trial(sweep.trial(5), [], status=None, label="mlp", lr=0.03)
    with open(sweep.trial(4).metrics_path, "ab") as file:
        file.write(b'{"epoch": 3, "val/accu')
    return sweep


@pytest.fixture
def results() -> SimpleNamespace:
    """The writers above."""
    return SimpleNamespace(sweep=write_sweep, trial=write_trial, confirm=write_confirm, full=full_sweep)
