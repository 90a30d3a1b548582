"""A sweep as people write it today: Optuna's PyTorch example, and Ray's Tune + TorchTrainer. Run by sweep.py, peers.py.

    python benchmarks/contenders.py optuna|tune|probe|score SPEC.json

Both train with the loop of PyTorch's tutorial on torchvision's FashionMNIST: PIL transforms, a DataLoader with
persistent workers, torch's own optimizers. Each trial writes a line per epoch into its own file, and its best weights.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from hwcls import models
from hwcls.models.simple_cnn import SimpleCnnConfig

OPTIMIZERS = {
    "adamw": torch.optim.AdamW,
    "sgd": lambda weights, **settings: torch.optim.SGD(weights, momentum=0.9, **settings),
}


def draw(trial: Any) -> dict[str, Any]:
    """The space of the sweep file by its names, define-by-run."""
    width = trial.suggest_categorical("model.width", [16, 32])
    optimizer = trial.suggest_categorical("optimizer", ["adamw", "sgd"])
    low, high = (1e-4, 1e-2) if optimizer == "adamw" else (1e-3, 1e-1)
    lr = trial.suggest_float(f"optimizer.{optimizer}.lr", low, high, log=True)
    weight_decay = trial.suggest_float("optimizer.weight_decay", 1e-6, 1e-2, log=True)
    return {"width": width, "optimizer": optimizer, "lr": lr, "weight_decay": weight_decay}


def build(settings: dict[str, Any], seed: int) -> nn.Module:
    """hwcls's architecture, so that only the systems differ."""
    torch.manual_seed(seed)
    return models.build(SimpleCnnConfig(width=settings["width"]), classes=10, channels=1, image_size=28)


def optimizer_of(model: nn.Module, settings: dict[str, Any]) -> torch.optim.Optimizer:
    """With torch's defaults for what is not searched."""
    make = OPTIMIZERS[settings["optimizer"]]
    return make(model.parameters(), lr=settings["lr"], weight_decay=settings["weight_decay"])


def eval_transforms(spec: dict[str, Any]) -> list[Any]:
    """The transforms of images that are not augmented."""
    return [transforms.ToTensor(), transforms.Normalize(spec["mean"], spec["std"])]


def loaders(spec: dict[str, Any]) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """The training images, augmented, and the validation images as they are."""
    normal = eval_transforms(spec)
    augment = [transforms.RandomCrop(28, padding=2), transforms.RandomHorizontalFlip()]
    workers = {"num_workers": spec["loaders"], "persistent_workers": spec["loaders"] > 0}
    train = datasets.FashionMNIST(spec["data"], train=True, transform=transforms.Compose(augment + normal))
    val = datasets.FashionMNIST(spec["data"], train=True, transform=transforms.Compose(normal))
    return (
        DataLoader(Subset(train, spec["train"]), spec["batch"], shuffle=True, **workers),
        DataLoader(Subset(val, spec["val"]), spec["batch"], **workers),
    )


def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader[Any]) -> float:
    """The tutorial's loop; returns the mean loss."""
    model.train()
    total, seen = 0.0, 0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
        seen += len(labels)
    return total / seen


@torch.no_grad()
def accuracy(model: nn.Module, loader: DataLoader[Any]) -> float:
    """The share of a split that the model gets right."""
    model.eval()
    right, seen = 0, 0
    for images, labels in loader:
        right += (model(images).argmax(1) == labels).sum().item()
        seen += len(labels)
    return right / seen


class Record:
    """A trial's folder: a line for each epoch, and the weights of its best one on val."""

    def __init__(self, spec: dict[str, Any], settings: dict[str, Any], number: int) -> None:
        self.folder, self.settings, self.best = Path(spec["out"], "trials", str(number)), settings, -1.0
        self.folder.mkdir(parents=True, exist_ok=True)

    def add(self, line: dict[str, Any], model: nn.Module) -> None:
        """An epoch that has ended; its weights are there, completely, before its line."""
        if line["val/accuracy"] > self.best:
            self.best = line["val/accuracy"]
            torch.save({"settings": self.settings, "weights": model.state_dict()}, self.folder / "new.pt")
            os.replace(self.folder / "new.pt", self.folder / "best.pt")
        with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def epochs(
    spec: dict[str, Any], record: Record, model: Any, optimizer: Any, train: Any, val: Any
) -> Iterator[tuple[int, dict[str, float]]]:
    """Train; yields each epoch's number, from 1, and metrics, which are recorded as well."""
    for epoch in range(1, spec["epochs"] + 1):
        started = time.time()
        loss = train_epoch(model, optimizer, train)
        found = {"train/loss": loss, "val/accuracy": accuracy(model, val)}
        record.add({"epoch": epoch, **found, "seconds": time.time() - started}, model)
        yield epoch, found


def score(spec: dict[str, Any]) -> None:
    """Print the accuracy on test of the trial whose folder `spec` names, with its best weights on val."""
    found = torch.load(Path(spec["best"], "best.pt"), weights_only=True)
    model = build(found["settings"], 0)
    model.load_state_dict(found["weights"])
    test = datasets.FashionMNIST(spec["data"], train=False, transform=transforms.Compose(eval_transforms(spec)))
    print(accuracy(model, DataLoader(test, 500)))


def probe(spec: dict[str, Any]) -> None:
    """A trial of each width without search and pruning: how fast the loop is here."""
    for width in (16, 32):
        settings = {"width": width, "optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.0}
        model = build(settings, 0)
        for _ in epochs(spec, Record(spec, settings, width), model, optimizer_of(model, settings), *loaders(spec)):
            pass


def with_optuna(spec: dict[str, Any]) -> None:
    """Optuna in one process, after its pytorch_simple.py."""
    import optuna

    train, val = loaders(spec)

    def objective(trial: Any) -> float:
        settings = draw(trial)
        model, best = build(settings, trial.number), 0.0
        record = Record(spec, settings, trial.number)
        for epoch, metrics in epochs(spec, record, model, optimizer_of(model, settings), train, val):
            best = max(best, metrics["val/accuracy"])
            trial.report(metrics["val/accuracy"], epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return best

    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=spec["grace"], reduction_factor=spec["eta"])
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for settings in spec["settings"]:
        study.enqueue_trial(settings)
    study.optimize(objective, n_trials=spec["trials"])
    print(study.best_trial)


def worker(config: dict[str, Any]) -> None:
    """What a worker of TorchTrainer runs, after Ray's "Get Started with Distributed Training using PyTorch"."""
    import tempfile

    import ray.train
    import ray.train.torch

    spec, settings, number = config["spec"], config["settings"], config["number"]
    model = ray.train.torch.prepare_model(build(settings, number))
    train, val = map(ray.train.torch.prepare_data_loader, loaders(spec))
    record = Record(spec, settings, number)
    for epoch, metrics in epochs(spec, record, model, optimizer_of(model, settings), train, val):
        with tempfile.TemporaryDirectory() as folder:
            torch.save(model.state_dict(), Path(folder, "model.pt"))
            ray.train.report({**metrics, "epoch": epoch}, checkpoint=ray.train.Checkpoint.from_directory(folder))


def drive(settings: dict[str, Any], spec: dict[str, Any]) -> None:
    """A Tune trial that starts a Train run, after Ray's "Hyperparameter Tuning with Ray Tune"."""
    import ray.train
    import ray.train.torch
    import ray.tune
    from ray.tune.integration.ray_train import TuneReportCallback

    trial = ray.tune.get_context().get_trial_id()
    name, here = f"train-trial_id={trial}", spec["out"]
    ray.train.torch.TorchTrainer(
        worker,
        train_loop_config={"spec": spec, "settings": settings, "number": int(trial, 16)},
        scaling_config=ray.train.ScalingConfig(num_workers=1),
        run_config=ray.train.RunConfig(name=name, storage_path=here, callbacks=[TuneReportCallback()]),
    ).fit()


def with_tune(spec: dict[str, Any]) -> None:
    """Ray Tune over TorchTrainer, with OptunaSearch and ASHA."""
    import ray.tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    asha = ASHAScheduler(max_t=spec["epochs"], grace_period=spec["grace"], reduction_factor=spec["eta"])
    tuner = ray.tune.Tuner(
        ray.tune.with_parameters(drive, spec=spec),
        tune_config=ray.tune.TuneConfig(
            metric="val/accuracy",
            mode="max",
            num_samples=spec["trials"],
            max_concurrent_trials=spec["concurrent"],
            search_alg=OptunaSearch(draw, metric="val/accuracy", mode="max", points_to_evaluate=spec["settings"]),
            scheduler=asha,
        ),
        run_config=ray.tune.RunConfig(name="sweep", storage_path=spec["out"]),
    )
    print(tuner.fit().get_best_result())


if __name__ == "__main__":
    contenders = {"optuna": with_optuna, "tune": with_tune, "probe": probe, "score": score}
    contenders[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text("utf-8")))
