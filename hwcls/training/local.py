"""One trial on this machine, without Ray: what `hwcls train` runs."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hwcls import models
from hwcls.config.data import PLAIN_INPUTS, ChosenSize
from hwcls.config.trial import EARLIER_LAYOUT, EARLIER_SPLIT, TrialConfig
from hwcls.data.augment.defaults import spell_out
from hwcls.data.cuts.table import has_other_splits, write_split_tables
from hwcls.data.imageset import ImageSet, describe_unjudged, open_data
from hwcls.data.progress import ProgressReporter
from hwcls.errors import UserError
from hwcls.models.user.code import exits_as_errors
from hwcls.models.weights.describe import describe_weights, weights_note
from hwcls.models.weights.find import download
from hwcls.tracking.folders import TrialFolder
from hwcls.tracking.records import Result, best_of
from hwcls.training import checkpoint
from hwcls.training.artifacts import OUTPUTS, WEIGHTS
from hwcls.training.build import build_trainer
from hwcls.training.checkpoint_writer import CheckpointWriter
from hwcls.training.cost import trial_cost
from hwcls.training.distributed import World
from hwcls.training.effective import effective_settings
from hwcls.training.errors import MemoryRanOutError, NotFiniteError
from hwcls.training.features.extract import compute_features
from hwcls.training.features.probe_recipe import feature_trial
from hwcls.training.gpu import refuse_unusable_driver
from hwcls.training.image_size import is_open, size_trial
from hwcls.training.launch import launch
from hwcls.training.memory import free_memory
from hwcls.training.observer import Observer
from hwcls.training.trainer import Trainer

log = logging.getLogger(__name__)
WRITTEN = ("metrics.jsonl", "result.json", "checkpoint", "splits.csv")  # to a trial, with OUTPUTS and WEIGHTS
SAVE_EVERY = 10.0  # seconds between checkpoints

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class _Hooks:
    """What a caller of `train` gets to see."""

    report: Report
    observe: Callable[[], Observer] | None
    progress: ProgressReporter | None


def train(
    config: TrialConfig,
    path: Path,
    report: Report,
    observe: Callable[[], Observer] | None = None,
    progress: ProgressReporter | None = None,
) -> Result:
    """Train a trial into the folder `path`, or resume it.

    With several ranks what is called must be picklable.

    Args:
        config: The trial.
        path: Its folder.
        report: Called once with each epoch's record.
        observe: Creates an observer on each rank.
        progress: Called with a line now and then while features are computed.

    Raises:
        UserError: The folder holds another trial, data or model cannot be built, or torch cannot use the GPU.
    """
    folder = TrialFolder(path)
    recorded = spell_out(folder.config(), earlier=True) if (path / "config.yaml").exists() else None
    config, chosen = _with_image_size(_with_earlier_split(spell_out(config), recorded), recorded)
    if recorded is not None:
        if recorded != config:
            raise UserError("holds another trial", where=str(path), remedy="name another folder with --out")
        result = folder.result()
        if result is not None and result.status == "complete":
            return result
    elif taken := [name for name in (*WRITTEN, *OUTPUTS, *WEIGHTS) if (path / name).exists()]:
        what = f"holds no trial, but files that would be overwritten: {', '.join(taken)}"
        raise UserError(what, where=str(path), remedy="name another folder with --out")
    if chosen is not None:
        log.warning("%s: %s", config.data.title, chosen)
    refuse_unusable_driver('set CUDA_VISIBLE_DEVICES=""')
    data = open_data(config.data)  # errors are raised here, once, before anything is written
    if recorded is not None and folder.last_epoch() and has_other_splits(config.data, data, path):
        what = f"the images of {data.title} have changed since this training began"
        raise UserError(what, where=str(path), remedy="restore them, or name another folder with --out")
    for note in (*data.origin.notes, *describe_unjudged(data.classes, data.counts())):
        log.warning("%s: %s", data.title, note)
    _check_model(config, data)
    folder.write_config(config)
    write_split_tables({config.data: data}, path)
    hooks = _Hooks(report, observe, progress)
    micro_batch: int | None = None
    reported = 0  # the last epoch that `report` got
    while True:
        reported = max(reported, folder.last_epoch())
        try:
            launch(config.workers, _train_rank, config.to_dict(), path, hooks, micro_batch, reported)
            break
        except MemoryRanOutError as error:
            micro_batch = error.smaller
        free_memory()  # outside the handler; then it resumes from the last checkpoint
    result = folder.result()
    assert result is not None, "rank 0 writes the result or raises"
    return result


def _check_model(config: TrialConfig, data: ImageSet) -> None:
    """Raise UserError where the model cannot be built; its pretrained weights are downloaded."""
    models.check(config.model, classes=len(data.classes), channels=data.channels, image_size=data.image_size)
    if found := config.model.find_pretrained():
        log.info("%s", describe_weights(found))
        found = download(found)  # once, before the ranks start
        if renamed := weights_note(found):
            log.warning("%s", renamed)
        if found.kind == "file":  # which may be of another model
            models.build(config.model, classes=len(data.classes), channels=data.channels, image_size=data.image_size)


def _with_earlier_split(config: TrialConfig, recorded: TrialConfig | None) -> TrialConfig:
    """The trial, split as the version that began it did, where the config leaves that to hwcls."""
    if recorded is None:
        return config
    keys = {*EARLIER_SPLIT, *PLAIN_INPUTS, *(["layout"] if recorded.data.layout == EARLIER_LAYOUT else [])}
    left_open = keys - config.data.model_fields_set
    split = {key: getattr(recorded.data, key) for key in left_open}
    model = config.model
    if model.name == recorded.model.name:
        earlier = {key for key, value in model.earlier.items() if getattr(recorded.model, key) == value}
        model = model.model_copy(update={key: getattr(recorded.model, key) for key in earlier - model.model_fields_set})
    return config.model_copy(update={"data": config.data.model_copy(update=split), "model": model})


def _with_image_size(config: TrialConfig, recorded: TrialConfig | None) -> tuple[TrialConfig, ChosenSize | None]:
    """The trial with the size that was recorded when it began, however many images there are now, or chosen now."""
    if recorded is not None and is_open(config.data, config.model):
        size = {"image_size": recorded.data.image_size}
        return config.model_copy(update={"data": config.data.model_copy(update=size)}), None
    return size_trial(config)


def _train_rank(
    world: World,
    values: dict[str, Any],
    path: Path,
    hooks: _Hooks,
    micro_batch: int | None,
    reported: int,
) -> None:
    import torch

    config, folder = TrialConfig.from_dict(values), TrialFolder(path)
    torch.set_num_threads(config.threads)
    observer = hooks.observe() if hooks.observe else None
    data, progress = open_data(config.data), hooks.progress if world.rank == 0 else None
    compute_features(feature_trial(config), data, world.device, progress)  # none for most models
    with exits_as_errors(config.model.name):
        trainer = build_trainer(config, data, world, observer, micro_batch=micro_batch)
    saved = path / "checkpoint"
    if checkpoint.exists(saved):
        checkpoint.load(trainer, saved)
    if world.rank == 0:
        _drop_later_records(folder, trainer)
    saves = _Saves(saved)
    error = None
    try:
        with exits_as_errors(config.model.name):
            for _ in trainer.epochs():
                if world.rank:
                    continue
                for line in folder.append_missing(trainer.history.records):
                    if line["epoch"] > reported:
                        hooks.report(line)
                saves.begin_if_due(trainer)
    except NotFiniteError as not_finite:
        error = str(not_finite)
    except BaseException:
        saves.writer.settle()  # what resumes needs the latest one
        raise
    saves.writer.wait()
    if world.rank:
        return
    checkpoint.write_outputs(trainer, path)
    folder.write_result(
        Result(
            status="failed" if error else "complete",
            best=best_of(trainer.history.records, config.metric),
            label=config.model.label,
            parameters=config.flat(),
            seconds=round(sum(line["seconds"] for line in trainer.history.records), 3),
            micro_batch=trainer.micro_batch,
            error=error,
            extra={"cost": trial_cost(trainer), "effective": effective_settings(trainer)},
        )
    )
    saves.remove()


class _Saves:
    """The checkpoints of a trial, in one folder: a thread writes them while the trial runs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.writer, self.last = folder, CheckpointWriter[Path](), time.monotonic()

    def begin_if_due(self, trainer: Trainer) -> None:
        if time.monotonic() - self.last > SAVE_EVERY and trainer.epoch < trainer.config.epochs:
            before = self.folder if checkpoint.exists(self.folder) else None
            self.writer.begin(trainer, partial(checkpoint.replace, folder=self.folder, before=before))
            self.last = time.monotonic()

    def remove(self) -> None:
        """The trial has ended."""
        for folder in (self.folder, checkpoint.unfinished(self.folder)):
            shutil.rmtree(folder, ignore_errors=True)


def _drop_later_records(folder: TrialFolder, trainer: Trainer) -> None:
    """Drop the records of epochs that are trained again: their numbers may differ with smaller micro-batches or on a
    GPU, and records must match the weights."""
    if folder.last_epoch() > trainer.epoch:
        folder.replace_records(trainer.history.records)
