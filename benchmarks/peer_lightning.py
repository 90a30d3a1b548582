"""Lightning with Optuna, after optuna-examples' pytorch_lightning_simple.py. Run by peers.py.

    python benchmarks/peer_lightning.py search|score SPEC.json

The network, the data and the optimizers are those of contenders.py.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import optuna
import torch
from contenders import Record, build, draw, loaders, optimizer_of, score
from optuna_integration import PyTorchLightningPruningCallback
from torch import nn


class Classifier(pl.LightningModule):
    """A network as a LightningModule."""

    def __init__(self, network: nn.Module, settings: dict[str, Any]) -> None:
        super().__init__()
        self.network, self.settings = network, settings

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        images, labels = batch
        return nn.functional.cross_entropy(self.network(images), labels)

    def validation_step(self, batch: Any, index: int) -> None:
        images, labels = batch
        right = (self.network(images).argmax(1) == labels).float().mean()
        self.log("val_acc", right, batch_size=len(labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optimizer_of(self.network, self.settings)


class Recorder(pl.Callback):
    """Notes each epoch; it comes before the callback that may end the trial there."""

    def __init__(self, record: Record) -> None:
        self.record, self.started = record, time.time()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        found = {"epoch": trainer.current_epoch + 1, "val/accuracy": trainer.callback_metrics["val_acc"].item()}
        self.record.add({**found, "seconds": time.time() - self.started}, pl_module.network)
        self.started = time.time()


def search(spec: dict[str, Any]) -> None:
    """Trials until the process is killed."""
    train, val = loaders(spec)

    def objective(trial: optuna.Trial) -> float:
        settings = draw(trial)
        model = Classifier(build(settings, trial.number), settings)
        recorder = Recorder(Record(spec, settings, trial.number))
        trainer = pl.Trainer(
            max_epochs=spec["epochs"],
            accelerator="auto",
            devices=1,
            enable_checkpointing=False,
            enable_progress_bar=False,
            default_root_dir=spec["out"],
            callbacks=[recorder, PyTorchLightningPruningCallback(trial, monitor="val_acc")],
        )
        trainer.fit(model, train, val)
        return trainer.callback_metrics["val_acc"].item()

    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner())
    study.optimize(objective, n_trials=spec["trials"])


if __name__ == "__main__":
    commands = {"search": search, "score": score}
    commands[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text("utf-8")))
