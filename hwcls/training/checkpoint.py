"""A trainer's state on disk, and the output files of a trial."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialize

from hwcls import files
from hwcls.errors import UserError
from hwcls.training.artifacts import (
    STATE,
    load_confusion,
    read_weight_names,
    read_weights_epoch,
    save_arrays,
    save_confusion,
    save_predictions,
)
from hwcls.training.snapshot import Snapshot, take_snapshot, to_host
from hwcls.training.trainer import Trainer

BEST, PREDICTIONS = "best.safetensors", "predictions.npz"


def replace(snapshot: Snapshot, folder: Path, before: Path | None = None) -> Path:
    """Write a checkpoint as the complete content of `folder`: a crash leaves what was there.

    Files of the best epoch that the checkpoint `before`, of the same training, has are linked, not written again.
    """
    new = unfinished(folder)
    files.remove(new)  # of a process that was killed
    try:
        write(snapshot, new, before)
        files.replace_folder(new, folder)
    except BaseException:
        files.remove(new)  # a full disk has no room for a half
        raise
    return folder


def unfinished(folder: Path) -> Path:
    """Where `replace` writes what will be `folder`."""
    return folder.with_name(f"{folder.name}.tmp")


def write(snapshot: Snapshot, folder: Path, before: Path | None = None) -> None:
    """Write a snapshot's files, each complete or absent; `before` is as `replace` has it."""
    _write_outputs(snapshot, folder, before)
    if snapshot.last is not None:
        _save_weights(snapshot, snapshot.last, snapshot.epoch, folder / "last.safetensors")
    if snapshot.state is not None:
        state = to_host(snapshot.state, snapshot.copied)
        files.write_with(folder / STATE, lambda file: _save_state(state, file))


def _save_state(state: dict[str, Any], file: IO[bytes]) -> None:
    try:
        torch.save(state, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):  # what torch makes of a full disk hides it
            raise error.__context__ from None
        raise


def load(trainer: Trainer, folder: Path) -> None:
    """Resume from what `write` wrote; only tensors, numbers and lists are unpickled.

    Raises UserError, with nothing changed, when it is truncated or of another model.
    """
    try:
        state = torch.load(folder / STATE, map_location=trainer.world.device, weights_only=True)
        if state["best"] is not None:
            weights = load_file(folder / BEST, device=str(trainer.world.device))
            if trainer.built.backbone is not None:  # the file may have that too
                weights = {name: weights[name] for name in trainer.model.state_dict()}
            state |= {"best_weights": weights, "best_scores": np.load(folder / PREDICTIONS)["scores"]}
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
    _write_outputs(take_snapshot(trainer, state=False, whole=whole), folder, None)


def _write_outputs(snapshot: Snapshot, folder: Path, before: Path | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if snapshot.inspection:
        save_arrays(folder / "inspection.npz", **snapshot.inspection)
    if snapshot.best is None:
        return
    if before is None or not _link_best(snapshot, before, folder):
        _save_weights(snapshot, snapshot.best_weights, snapshot.best, folder / BEST)
        save_predictions(folder / PREDICTIONS, **snapshot.predictions)
    for epoch, matrix in snapshot.confusions.items():
        save_confusion(matrix, folder / "confusion" / f"{epoch}.npz")
    for path in folder.glob("confusion/*.npz"):
        if int(path.stem) not in snapshot.confusions:
            path.unlink()


def _link_best(snapshot: Snapshot, before: Path, folder: Path) -> bool:
    """Link the files of the best epoch to those of another checkpoint; whether it has them, and links are possible.

    One that was written while no weights were kept lacks those of a frozen backbone.
    """
    if read_weights_epoch(before / BEST) != snapshot.best:
        return False
    if read_weight_names(before / BEST) != snapshot.best_weights.keys():
        return False
    try:
        for name in (BEST, PREDICTIONS):
            files.link(before / name, folder / name)
    except OSError:
        return False
    return True


def _save_weights(snapshot: Snapshot, weights: dict[str, torch.Tensor], epoch: int, path: Path) -> None:
    """Write weights as safetensors, with config and inputs as metadata."""
    # one key: safetensors writes several in an order that changes from process to process
    metadata = {"hwcls": json.dumps({"epoch": epoch, **snapshot.about})}
    host: dict[str, torch.Tensor] = to_host(weights, snapshot.copied)
    content = serialize({key: tensor.contiguous() for key, tensor in host.items()}, metadata)
    files.write_with(path, lambda file: file.write(content))
