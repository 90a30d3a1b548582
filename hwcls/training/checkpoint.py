"""A trainer's state on disk, and the output files of a trial."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from hwcls import files
from hwcls.errors import UserError
from hwcls.training.artifacts import load_confusion, save_arrays, save_confusion
from hwcls.training.trainer import Trainer

STATE = "state.pt"


def save(trainer: Trainer, folder: Path, *, last: bool = False, whole: bool = False) -> None:
    """Write a checkpoint: the state that the next epoch needs and the outputs so far, each file complete or absent.

    `last` also writes the latest weights, as last.safetensors. Weights are those that are trained, with `whole` also
    those of a frozen backbone: files that will be kept.
    """
    write_outputs(trainer, folder, whole=whole)
    if last:
        save_weights(_kept(trainer, trainer.weights(), whole), folder / "last.safetensors", trainer, trainer.epoch)
    if trainer.epoch < trainer.config.epochs:  # after the last epoch there is nothing to resume
        files.write_with(folder / STATE, lambda file: torch.save(trainer.state(), file))


def load(trainer: Trainer, folder: Path) -> None:
    """Resume from `save`'s folder; only tensors, numbers and lists are unpickled.

    Raises UserError, with nothing changed, when it is truncated or of another model.
    """
    try:
        state = torch.load(folder / STATE, map_location=trainer.world.device, weights_only=True)
        if state["best"] is not None:
            weights = load_file(folder / "best.safetensors", device=str(trainer.world.device))
            if trainer.built.backbone is not None:  # the file may have that too
                weights = {name: weights[name] for name in trainer.model.state_dict()}
            state |= {"best_weights": weights, "best_scores": np.load(folder / "predictions.npz")["scores"]}
        state["confusions"] = {int(path.stem): load_confusion(path) for path in folder.glob("confusion/*.npz")}
    except Exception as error:
        where = str(folder / STATE)
        raise UserError(f"the checkpoint cannot be read ({type(error).__name__})", where=where) from None
    if difference := first_mismatch(state["model"], trainer.model.state_dict()):
        remedy = "undo the change of the model, or remove the folder to train again from scratch"
        raise UserError(f"the checkpoint is of another model: {difference}", where=str(folder / STATE), remedy=remedy)
    trainer.load_state(state)


def first_mismatch(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> str | None:
    """The first difference in name or shape between the weights found in a file and those of a model."""
    for name, weight in expected.items():
        if name not in found:
            return f"{name} is missing"
        if found[name].shape != weight.shape:
            return f"{name} is {tuple(found[name].shape)} in the file, {tuple(weight.shape)} in the model"
    return next((f"the model has no {name}" for name in found if name not in expected), None)


def exists(folder: Path) -> bool:
    """Whether a trial can resume from `folder`."""
    return (folder / STATE).exists()


def write_outputs(trainer: Trainer, folder: Path, *, whole: bool = True) -> None:
    """Write best.safetensors, predictions.npz, confusion/<epoch>.npz and the observer's inspection.npz.

    Without `whole` the weights of a frozen backbone, whose features are cached, are left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if recorded := trainer.built.pictures | trainer.observer.arrays():
        save_arrays(folder / "inspection.npz", **recorded)
    history = trainer.history
    if history.best is None:
        return
    weights = _kept(trainer, history.best_weights, whole)
    save_weights(weights, folder / "best.safetensors", trainer, history.best["epoch"])
    labels = trainer.data.val.labels
    arrays = {"labels": labels, "scores": history.best_scores, "index": np.arange(len(labels))}
    if trainer.config.data.folds is not None:  # other runs predict the other images
        arrays["rows"] = trainer.data.val.rows
    save_arrays(folder / "predictions.npz", **arrays, epoch=np.int64(history.best["epoch"]))
    for epoch, matrix in history.confusions.items():
        save_confusion(matrix, folder / "confusion" / f"{epoch}.npz")
    for path in folder.glob("confusion/*.npz"):
        if int(path.stem) not in history.confusions:
            path.unlink()


def _kept(trainer: Trainer, weights: dict[str, torch.Tensor], whole: bool) -> dict[str, torch.Tensor]:
    return trainer.built.complete(weights) if whole else weights


def save_weights(weights: dict[str, torch.Tensor], path: Path, trainer: Trainer, epoch: int) -> None:
    """Write weights as safetensors, with config and inputs as metadata."""
    # one key: safetensors writes several in an order that changes from process to process
    described = {"epoch": epoch, "config": trainer.config.to_dict(), "inputs": trainer.data.to_dict()}
    metadata = {"hwcls": json.dumps(described)}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    save_file({key: tensor.contiguous() for key, tensor in weights.items()}, temporary, metadata)
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
