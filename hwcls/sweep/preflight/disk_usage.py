"""Upper bound on the disk space of a sweep, from the sizes of its models and data."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hwcls.config.sweep import TRACKERS
from hwcls.config.sweep_file import Sweep
from hwcls.errors import UserError
from hwcls.format import format_bytes
from hwcls.sweep.preflight.model_size import ModelSize
from hwcls.sweep.search.rungs import rung_limits

KB, MB, GB = 10**3, 10**6, 10**9
BLOCK = 4096  # bytes that the smallest file occupies
CHECKPOINTS = 4  # of a running trial: two are kept while the next is written, and one of an earlier start
BASE = 16 * MB  # the page and the one that replaces it, the journal, the environment and the start of sweep.log
LOG = 2 * KB  # the lines of a trial in sweep.log: it starts, ends and is restarted a few times
HISTOGRAM = 2 * (4 * 65 + 2 * 300)  # bytes per layer and kept epoch: counts and edges, of weights and of gradients


@dataclass(frozen=True)
class DataSize:
    """The properties of a data set that determine the size of a trial's files."""

    classes: int
    channels: int
    side: int  # pixels
    val: int  # images
    test: int
    train_and_val: int = 0  # images of both together


@dataclass(frozen=True)
class DiskUsage:
    """Upper bounds, in bytes."""

    trials: int | None  # all trials after their ends; None where their number is unknown
    each: int  # the largest trial
    running: int  # files that exist only while trials run
    rest: int  # page, journal, trackers, confirm runs

    @property
    def total(self) -> int | None:
        """The results folder at any time."""
        return None if self.trials is None else self.trials + self.running + self.rest

    def __str__(self) -> str:
        if self.total is None:
            rest = format_bytes(self.running + self.rest)
            return f"disk: at most {format_bytes(self.each)} for each trial, and {rest} besides"
        return f"disk: at most {format_bytes(self.total)}, of which {format_bytes(self.running)} only while trials run"


def estimate_disk_usage(
    sweep: Sweep, models: Mapping[str | None, ModelSize], data: DataSize, concurrent: int
) -> DiskUsage:
    """The upper bound for a sweep.

    Args:
        sweep: The sweep.
        models: The largest model of each alternative, as `largest_models` returns.
        data: The largest data set.
        concurrent: Trials at once.
    """
    keep, epochs = sweep.config.keep, max(trial.epochs for trial in sweep.corners)
    kept = {label: _outputs(found, data, epochs, sweep) + _kept(found, keep) for label, found in models.items()}
    each = max(kept.values())
    counts = max_trials(sweep)
    checkpoint = max(_checkpoint(found, data, epochs, keep) for found in models.values())
    total = sum(count * kept.get(label, each) for label, count in counts.items()) if counts is not None else None
    paused, open_ended = _most_paused(sweep)
    each += open_ended * checkpoint  # which a paused trial keeps
    running = concurrent * (CHECKPOINTS * checkpoint + max(found.file for found in models.values()))
    running += paused * checkpoint
    confirmed = 0
    if sweep.config.confirm is not None:
        config = sweep.config.confirm
        scores = data.test * (2 * data.classes + 8) + BLOCK
        runs = config.top * config.seeds if sweep.config.metric.costs else sum(config.runs(config.top))
        joined, each_model = 0, list[int]()
        if config.fold_count:  # twice a fold's share, as groups are not divided
            held_out = min(data.train_and_val, 2 * -(-data.train_and_val // config.fold_count))
            data = replace(data, val=max(data.val, held_out))
            joined = data.train_and_val * (2 * data.classes + 40) + BLOCK  # out_of_fold.npz
        for found in models.values():  # what is scored keeps its weights until then, whatever `keep` says
            files = _outputs(found, data, epochs, sweep) + _kept(found, "best") + scores
            each_model.append(runs * files + joined)
        confirmed = max(each_model) if sweep.config.metric.costs else sum(each_model)  # all points may be of one
    copied = 0 if keep == "none" else max(found.file for found in models.values())  # best/
    return DiskUsage(total, each, running, BASE + confirmed + copied)


def max_trials(sweep: Sweep) -> dict[str, int] | None:
    """The maximum number of trials of each alternative; None where only time ends the search."""
    if sweep.total is None:
        return None
    each = sweep.shares.trials_each()
    if not each or sweep.config.first:  # settings of `first` belong to any alternative
        return {"any": sweep.total}  # as if each were of the largest alternative
    return each


def _most_paused(sweep: Sweep) -> tuple[int, bool]:
    """How many trials may wait at a time, or whether all may, where only time ends the search."""
    early = sweep.early_stopping
    if early is None or not early.pauses:
        return 0, False
    counts = max_trials(sweep)
    if counts is None:
        return 0, True
    first, epochs = rung_limits(early, sweep.corners)
    if set(counts) == set(sweep.shares.labels):
        return sum(early.most_paused(first, epochs, count) for count in counts.values()), False
    return len(sweep.shares.labels or (None,)) * early.most_paused(first, epochs, sum(counts.values())), False


def check_results_disk(found: DiskUsage, path: Path) -> str | None:
    """A warning about the disk of the results folder `path`, None where everything fits.

    Raises:
        UserError: Not even the trials that run at once fit.
    """
    existing = next(place for place in (path, *path.absolute().parents) if place.is_dir())
    now = shutil.disk_usage(existing).free
    free = now + folder_size(path)  # existing results are part of the bound
    least = found.running + found.each
    if now + folder_size(path / "tune") < least:
        what = f"the disk has {format_bytes(now)} free, and the trials that run at once need up to "
        what += format_bytes(least)
        raise UserError(
            what, where=str(path), remedy="free some space, use a folder on another disk, or lower concurrent"
        )
    if found.total is not None and free < found.total:
        return f"the disk has only {format_bytes(free)} free in {path}: free some space, or set keep: none"
    return None


def folder_size(path: Path) -> int:
    """The bytes that a folder occupies on its disk."""
    return sum(_blocks(path))


def _kept(model: ModelSize, keep: str) -> int:
    """The weights that are kept in a trial's folder."""
    return {"none": 0, "best": 1, "all": 2}[keep] * model.file


def _outputs(model: ModelSize, data: DataSize, epochs: int, sweep: Sweep) -> int:
    """A trial's files except for its weights: arrays, records, and its part of journal, page and trackers."""
    lines = epochs * (400 + 250 + 450)  # metrics.jsonl, study.journal, curves on the page
    tracked = sum(TRACKERS[name].disk_bytes(epochs) for name in sweep.config.track)
    return _arrays(model, data, epochs) + lines + LOG + 60 * KB + tracked


def _arrays(model: ModelSize, data: DataSize, epochs: int) -> int:
    """predictions.npz, confusion/ and inspection.npz."""
    kept = epochs.bit_length() + 2  # epochs: powers of two, the best, the last
    predictions = data.val * (2 * data.classes + 24) + BLOCK
    confusion = kept * (16 * min(data.val, data.classes**2) + 2 * BLOCK)
    flow = model.layers * (8 * epochs + 400)
    histograms = min(model.layers, 32) * (kept * HISTOGRAM + 2 * KB)
    pictures = 17 * data.side**2 * data.channels + 2 * 16 * 64 * 64
    return predictions + confusion + flow + histograms + pictures + 2 * BLOCK


def _checkpoint(model: ModelSize, data: DataSize, epochs: int, keep: str) -> int:
    """A checkpoint: training state, and the outputs for the trial's folder."""
    seen = epochs * 2 * (4 * model.layers + KB)  # the observer's, per epoch
    state = model.state + epochs * 400 + seen + model.tensors * 4 * 300
    return state + (2 if keep == "all" else 1) * model.file + 2 * _arrays(model, data, epochs)


def _blocks(path: Path) -> Iterator[int]:
    for folder, _, names in os.walk(path):
        for entry in (folder, *(os.path.join(folder, name) for name in names)):
            try:
                yield os.lstat(entry).st_blocks * 512
            except FileNotFoundError:  # deleted meanwhile
                continue
