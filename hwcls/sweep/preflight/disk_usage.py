"""The disk that a sweep needs at most, known before it starts: from the sizes of its models and what is kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hwcls.config.sweep import TRACKERS
from hwcls.config.sweep_file import Sweep
from hwcls.errors import UserError
from hwcls.format import format_bytes
from hwcls.sweep.preflight.model_size import Weights

KB, MB, GB = 10**3, 10**6, 10**9
BLOCK = 4096  # bytes that the smallest file takes
CHECKPOINTS = 4  # of a running trial: two are kept while the next is written, and one of an earlier start
BASE = 16 * MB  # the page and the one that replaces it, the journal, the environment and the start of sweep.log
LOG = 2 * KB  # of a trial in sweep.log: that it starts, ends and is restarted a few times
HISTOGRAM = 2 * (4 * 65 + 2 * 300)  # bytes per layer and kept epoch: counts and edges, of weights and of gradients


@dataclass(frozen=True)
class Shape:
    """What of a data set decides how large the files of a trial are."""

    classes: int
    channels: int
    side: int  # pixels
    val: int  # images
    test: int


@dataclass(frozen=True)
class Footprint:
    """Bytes at most."""

    trials: int | None  # of all trials when they have ended; None where their number is not known
    each: int  # of the largest trial
    running: int  # of what stands there only while trials run, and is gone when they have ended
    rest: int  # page, journal, trackers, confirm runs

    @property
    def total(self) -> int | None:
        """Of the results folder at any time."""
        return None if self.trials is None else self.trials + self.running + self.rest

    def __str__(self) -> str:
        if self.total is None:
            rest = format_bytes(self.running + self.rest)
            return f"disk: at most {format_bytes(self.each)} for each trial, and {rest} besides"
        return f"disk: at most {format_bytes(self.total)}, of which {format_bytes(self.running)} only while trials run"


def of(sweep: Sweep, weights: Mapping[str | None, Weights], shape: Shape, concurrent: int) -> Footprint:
    """The bound for a sweep whose largest models are `weights`, by alternative.

    Args:
        sweep: The sweep.
        weights: Of each alternative the largest model; of a sweep without alternatives under None.
        shape: Of the data.
        concurrent: Trials at once.
    """
    keep, epochs = sweep.config.keep, max(trial.epochs for trial in sweep.corners)
    kept = {label: _outputs(found, shape, epochs, sweep) + _kept(found, keep) for label, found in weights.items()}
    each = max(kept.values())
    counts = most_trials(sweep)
    checkpoint = max(_checkpoint(found, shape, epochs, keep) for found in weights.values())
    total = sum(count * kept.get(label, each) for label, count in counts.items()) if counts is not None else None
    running = concurrent * (CHECKPOINTS * checkpoint + max(found.file for found in weights.values()))
    confirmed = 0
    if sweep.config.confirm is not None:
        config = sweep.config.confirm
        scores = shape.test * (2 * shape.classes + 8) + BLOCK
        for found in weights.values():
            runs = config.top * config.seeds  # their weights are kept until they are scored, whatever `keep` says
            confirmed += runs * (_outputs(found, shape, epochs, sweep) + _kept(found, "best") + scores)
    return Footprint(total, each, running, BASE + confirmed)


def most_trials(sweep: Sweep) -> dict[str, int] | None:
    """How many trials each alternative can have at most; None where only time ends the search."""
    if sweep.total is None:
        return None
    each = sweep.shares.trials_each()
    if not each or sweep.config.first:  # settings of `first` belong to any alternative
        return {"any": sweep.total}  # as if each were one of the largest
    return each


def check_disk(found: Footprint, path: Path) -> str | None:
    """A warning about the disk of the results folder `path`, None where everything fits.

    Raises:
        UserError: Not even the trials that run at once fit.
    """
    now = shutil.disk_usage(path).free
    free = now + taken(path)  # what is there already is part of the bound
    least = found.running + found.each
    if now + taken(path / "tune") < least:
        what = f"the disk has {format_bytes(now)} free, and the trials that run at once need up to "
        what += format_bytes(least)
        raise UserError(what, where=str(path), remedy="free some space, name another --results, or lower concurrent")
    if found.total is not None and free < found.total:
        return f"the disk has only {format_bytes(free)} free in {path}: free some space, or set keep: none"
    return None


def taken(path: Path) -> int:
    """The bytes that a folder takes on its disk."""
    return sum(_blocks(path))


def _kept(weights: Weights, keep: str) -> int:
    """Weights that stay in a trial's folder."""
    return {"none": 0, "best": 1, "all": 2}[keep] * weights.file


def _outputs(weights: Weights, shape: Shape, epochs: int, sweep: Sweep) -> int:
    """What a trial leaves beside its weights: arrays, records, and its part of journal, page and trackers."""
    lines = epochs * (400 + 250 + 450)  # metrics.jsonl, study.journal, curves on the page
    tracked = sum(TRACKERS[name].disk_bytes(epochs) for name in sweep.config.track)
    return _arrays(weights, shape, epochs) + lines + LOG + 60 * KB + tracked


def _arrays(weights: Weights, shape: Shape, epochs: int) -> int:
    """predictions.npz, confusion/ and inspection.npz."""
    kept = epochs.bit_length() + 2  # epochs: powers of two, the best, the last
    predictions = shape.val * (2 * shape.classes + 16) + BLOCK
    confusion = kept * (16 * min(shape.val, shape.classes**2) + 2 * BLOCK)
    flow = weights.layers * (8 * epochs + 400)
    histograms = min(weights.layers, 32) * (kept * HISTOGRAM + 2 * KB)
    pictures = 17 * shape.side**2 * shape.channels + 2 * 16 * 64 * 64
    return predictions + confusion + flow + histograms + pictures + 2 * BLOCK


def _checkpoint(weights: Weights, shape: Shape, epochs: int, keep: str) -> int:
    """What the next epoch needs, and what the trial's folder gets from there."""
    seen = epochs * 2 * (4 * weights.layers + KB)  # of the observer, epoch by epoch
    state = weights.state + epochs * 400 + seen + weights.tensors * 4 * 300
    return state + (2 if keep == "all" else 1) * weights.file + 2 * _arrays(weights, shape, epochs)


def _blocks(path: Path) -> Iterator[int]:
    for folder, _, names in os.walk(path):
        for place in (folder, *(os.path.join(folder, name) for name in names)):
            try:
                yield os.lstat(place).st_blocks * 512
            except FileNotFoundError:  # gone meanwhile
                continue
