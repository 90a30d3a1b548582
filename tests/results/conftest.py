"""Small results folders, written as a sweep writes them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hwcls import files
from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import open_data
from hwcls.metrics import confusion_matrix
from hwcls.results.diagnostics import Diagnostics, load_diagnostics
from hwcls.results.load import load_results
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.tracking.records import EpochRecord, Result
from hwcls.training.artifacts import save_arrays, save_confusion

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
    role: str | None = None,
) -> None:
    """`seeds` scored confirm runs of `label`, each right on about `hit_rate` of the same test images.

    Without `role` they are of a version in which such runs chose the winner as well.
    """
    rng = np.random.default_rng(sum(label.encode()))
    truth = np.arange(images) % 3
    for seed in range(seeds):
        folder = sweep.confirm_run(label, first + seed)
        guess = np.where(rng.random(images) < hit_rate, truth, (truth + 1) % 3)
        scores = np.eye(3, dtype=np.float16)[guess]
        test = {"test/accuracy": float((guess == truth).mean()), "test/loss": 0.3}
        own = {"role": role} if role else {}
        write_trial(folder, [0.5, val], label=label, trial=trial, test=test, **own)
        folder.append(test)
        files.write_with(
            folder.path / "test_predictions.npz", lambda f, t=truth, s=scores: np.savez(f, labels=t, scores=s)
        )


def write_overtaken(path: Path, **settings: Any) -> SweepFolder:
    """A sweep whose winners did not lead the search: trial 1 of cnn and 4 of mlp, picked instead of 9 and 2.

    Each trial's predictions are right on a share of the images of its own, so that they can be told apart.
    """
    sweep = write_sweep(path, **{"confirm": {"top": 2, "seeds": 5}, **settings})
    compare = settings.get("compare", "model") is not None
    curves = {9: ("cnn", [0.5, 0.99], 0.9), 1: ("cnn", [0.6, 0.95], 0.8), 2: ("mlp", [0.7, 0.92], 0.7)}
    curves |= {4: ("mlp", [0.4, 0.9], 0.6)} if compare else {}
    for number, (label, curve, rate) in curves.items():
        write_trial(sweep.trial(number), curve, label=label if compare else None, lr=number / 100)
        write_seen(sweep.trial(number), rate)
    for winner, loser, label, rate in ((1, 9, "cnn", 0.95), (4, 2, "mlp", 0.75))[: 2 if compare else 1]:
        folder = label if compare else "best"
        for number, value in ((winner, 0.94), (loser, 0.8)):
            for seed in range(2):
                run = sweep.confirm_run(folder, 1_000_000_000 + 1000 * number + seed)
                write_trial(run, [0.5, value], label=label if compare else None, trial=number, role="pick")
        first = 10_000_000 + 1000 * winner
        write_confirm(sweep, folder, rate, trial=winner, val=0.96, first=first, role="report")
    return sweep


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


def write_seen(
    folder: TrialFolder, hit_rate: float, *, classes: int = 3, images: int = 90, epochs: int = 4, unjudged: int = 0
) -> None:
    """What a worker brings: predictions, confusion matrices that become better, and what was seen in training.

    The last `unjudged` classes have no image.
    """
    rng = np.random.default_rng(round(1000 * hit_rate))
    labels = np.arange(images) % (classes - unjudged)

    def predicted(rate: float) -> np.ndarray:
        return np.where(rng.random(images) < rate, labels, (labels + 1) % classes)

    guess = predicted(hit_rate)
    scores = np.full((images, classes), 0.2 / classes)
    scores[np.arange(images), guess] += 0.8 - 0.3 * rng.random(images)
    scores /= scores.sum(1, keepdims=True)
    folder.path.mkdir(parents=True, exist_ok=True)
    arrays = {"labels": labels, "scores": scores.astype(np.float16), "index": np.arange(images)}
    save_arrays(folder.path / "predictions.npz", **arrays)
    for epoch in range(1, epochs + 1):
        matrix = confusion_matrix(labels, predicted(hit_rate * epoch / epochs), classes)
        save_confusion(matrix, folder.path / "confusion" / f"{epoch}.npz")
    layers = np.array(["first", "second"])
    seen = {
        "layers": layers,
        "epochs": np.arange(1, epochs + 1),
        "gradient_mean": rng.random((epochs, 2)) + 0.1,
        "gradient_max": rng.random((epochs, 2)) + 1,
        "activation_image": rng.integers(0, 255, (8, 8, 1), np.uint8),
        "activations": rng.standard_normal((5, 8, 8)).astype(np.float16),
        "weights/epochs": np.array([1, epochs], np.int32),
        "weights/first/counts": rng.integers(0, 9, (2, 4)).astype(np.int32),
        "weights/first/edges": np.stack([np.linspace(-1, 1, 5)] * 2).astype(np.float32),
        "reconstructions/input": rng.integers(0, 255, (2, 8, 8, 1), np.uint8),
        "reconstructions/output": rng.integers(0, 255, (2, 8, 8, 1), np.uint8),
    }
    save_arrays(folder.path / "inspection.npz", **seen)


def write_whole(path: Path, *, trials: int = 40, classes: int = 10, images: int = 0, epochs: int = 4) -> SweepFolder:
    """A sweep in which everything that a page can show is there; with 10 classes the images are the digits."""
    rng = np.random.default_rng(0)
    names = [str(label) for label in range(10)] if classes == 10 else [f"n{label:08}" for label in range(classes)]
    space = {"optimizer": {"lr": {"min": 1e-4, "max": 1.0, "log": True}}}
    sweep = write_sweep(path, parameters=space)
    files.write_json(path / "data.json", DATA | {"classes": names})
    labels = ("cnn", "mlp", "resnet")
    for number in range(trials):
        lr, place = float(10 ** rng.uniform(-4, 0)), number % 3
        best = 0.95 - 0.1 * abs(np.log10(lr) + 2) - 0.05 * place
        count = int(rng.choice([1, 3, epochs]))
        cost = {"parameters": int(10 ** rng.uniform(3, 7)), "flops": 10**6, "receptive_field": 9 if place else None}
        curve = [best - 0.3 / epoch for epoch in range(1, count + 1)]
        status = "complete" if count == epochs else "stopped"
        extra = {"cost": cost | {"inference_ms": float(rng.uniform(0.1, 9))}}
        write_trial(sweep.trial(number), curve, label=labels[place], lr=lr, status=status, **extra)
        if not images:
            images = len(open_data(sweep.trial(0).config().data).val)
        write_seen(sweep.trial(number), 0.9 - 0.1 * place, classes=classes, images=images, epochs=epochs)
    write_trial(
        sweep.trial(trials), [0.1], status="failed", label="mlp", error="the loss is not finite: epoch 1, step 3"
    )
    return sweep


@pytest.fixture
def results() -> SimpleNamespace:
    """The writers above."""
    writers = {"sweep": write_sweep, "trial": write_trial, "confirm": write_confirm, "seen": write_seen}
    writers |= {"overtaken": write_overtaken}
    return SimpleNamespace(**writers, full=full_sweep)


@pytest.fixture
def sweep(results: SimpleNamespace, tmp_path: Path) -> SweepFolder:
    """A sweep whose trials 0, 1 and 3, a failed one, have predictions and what was inspected."""
    folder: SweepFolder = results.full(tmp_path)
    results.seen(folder.trial(0), 0.7)
    results.seen(folder.trial(1), 0.9)
    results.seen(folder.trial(3), 0.2)  # it failed
    return folder


@pytest.fixture
def found(sweep: SweepFolder) -> list[Diagnostics]:
    """The diagnostics of its best trials."""
    return load_diagnostics(load_results(sweep.path))
