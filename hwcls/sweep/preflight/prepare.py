"""What is made sure before the first trial: the data is decoded, every model builds, the splits are saved."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwcls import files
from hwcls.config.data import DataConfig
from hwcls.config.sweep_file import Sweep
from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import ImageSet, open_data
from hwcls.data.progress import ProgressReporter
from hwcls.errors import UserError
from hwcls.models.alternatives import same, sentence, variants
from hwcls.sweep.preflight.disk_usage import Shape
from hwcls.sweep.preflight.model_size import Weights, heaviest, weigh
from hwcls.sweep.preflight.validate import placed
from hwcls.sweep.storage.user_code import copy_sources, with_copied_source
from hwcls.training.artifacts import save_arrays

log = logging.getLogger(__name__)

Shapes = dict[DataConfig, tuple[int, int, int]]  # classes, channels, side


@dataclass(frozen=True)
class Prepared:
    """What the search needs of it."""

    sources: dict[str, str]  # what `copy_sources` returns
    weights: dict[str | None, Weights]  # the largest model of each alternative
    shape: Shape
    data: list[DataConfig]  # each distinct data set


def prepare(sweep: Sweep, path: Path) -> Prepared:
    """Decode the data once, save the splits, keep the user's files, and build every branch's model without weights.

    Raises:
        UserError: Data that is not there, a model that cannot be built.
    """
    sources = copy_sources(sweep.corners, path)
    corners = [with_copied_source(trial, sources) for trial in sweep.corners]
    sets = open_sets(sweep, corners, log.info)
    save_splits(list(sets.values()), path)
    shapes = shapes_of(sets)
    check_models(sweep, corners, shapes)
    check_weights(sweep, corners, shapes)
    by_label = variants(sweep).items()
    copied = {label: [with_copied_source(trial, sources) for trial in trials] for label, trials in by_label}
    groups = same(copied, lambda trial: _identity(trial, *shapes[trial.data.pixels()]))
    for labels in groups:
        log.warning("%s", sentence(labels))
    files.write_json(path / "models.json", {"same": groups})
    return Prepared(sources, *sizes(sweep, sets, sources), list(sets))


def sizes(
    sweep: Sweep, sets: dict[DataConfig, ImageSet], sources: dict[str, str]
) -> tuple[dict[str | None, Weights], Shape]:
    """The largest model of each alternative, and the largest shape of the data."""
    counts = [(len(images.val), len(images.test)) for images in sets.values()]
    classes, channels, side = (max(values) for values in zip(*shapes_of(sets).values(), strict=True))
    val, test = (max(values) for values in zip(*counts, strict=True))
    found = heaviest(sweep, lambda trial: _weights(with_copied_source(trial, sources), classes, channels, side))
    return found, Shape(classes, channels, side, val, test)


def open_sets(
    sweep: Sweep, trials: Sequence[TrialConfig], progress: ProgressReporter | None = None
) -> dict[DataConfig, ImageSet]:
    """The data sets of some trials, each opened once; raises UserError with its place in the file."""
    sets: dict[DataConfig, ImageSet] = {}
    for trial in trials:
        key = trial.data.pixels()
        if key not in sets:
            sets[key] = _open(sweep, trial.data, progress)
    return sets


def shapes_of(sets: dict[DataConfig, ImageSet]) -> Shapes:
    """What a model must know of each data set: classes, channels, side."""
    return {key: (len(images.classes), images.channels, images.image_size) for key, images in sets.items()}


def _open(sweep: Sweep, data: DataConfig, progress: ProgressReporter | None) -> ImageSet:
    try:
        return open_data(data, progress)
    except UserError as error:
        raise placed(sweep, error) from None


def save_splits(sets: list[ImageSet], path: Path) -> None:
    """splits.npz and data.json: which images are train, val and test; of several data sets each under its number.

    Raises:
        UserError: Trials were run here on other images.
    """
    _same_images(sets, path)
    arrays, described = {}, []
    for number, images in enumerate(sets):
        prefix = f"{number}/" if len(sets) > 1 else ""
        for name in ("train", "val", "test"):
            arrays[f"{prefix}{name}"] = getattr(images, name).rows
        counts = np.bincount(images.train.labels, minlength=len(images.classes))
        sizes = {name: len(getattr(images, name)) for name in ("train", "val", "test")}
        per_class = [int(counts.min()), int(counts.max())]
        known = {"name": images.name, "classes": list(images.classes), "per_class": per_class}
        described.append({**known, **sizes, "fingerprint": _fingerprint(images)})
    save_arrays(path / "splits.npz", **arrays)
    files.write_json(path / "data.json", {**described[0], **({"others": described[1:]} if described[1:] else {})})


def _same_images(sets: list[ImageSet], path: Path) -> None:
    if not any(path.glob("trials/*/config.yaml")) or not (path / "data.json").exists():
        return
    found = json.loads((path / "data.json").read_text("utf-8"))
    before = [entry.get("fingerprint") for entry in (found, *found.get("others", []))]
    for images, fingerprint in zip(sets, before, strict=False):
        if fingerprint not in (None, _fingerprint(images)):
            what = f"the images of {images.name} have changed since this sweep began: its trials could not be compared"
            raise UserError(what, where=str(path), remedy="put them back, or pass --new to use a new folder")


def _fingerprint(images: ImageSet) -> str:
    """Of classes, splits, labels and the training pixels' mean and spread: a change of the data shows in it."""
    digest = hashlib.blake2b(repr((images.classes, images.mean, images.std)).encode(), digest_size=16)
    for split in (images.train, images.val, images.test):
        digest.update(np.ascontiguousarray(split.rows).tobytes())
        digest.update(np.ascontiguousarray(split.labels).tobytes())
    return digest.hexdigest()


def check_models(sweep: Sweep, trials: Sequence[TrialConfig], shapes: Shapes) -> None:
    """Build and try each distinct model, once per cache.

    Raises:
        UserError: A model that cannot be built, with the place of its alternative in the file.
    """
    for trial in trials:
        with _placed(sweep, trial):
            _identity(trial, *shapes[trial.data.pixels()])


def check_weights(sweep: Sweep, trials: Sequence[TrialConfig], shapes: Shapes) -> None:
    """Load pretrained weights once, each file and backbone: what is not there is said, or fetched, before any trial.

    Raises:
        UserError: Weights that cannot be had or do not fit, with the place of their alternative in the file.
    """
    seen = set()
    for trial in trials:
        model = trial.model
        if model.pretrained_from is None or model.pretrained_from in seen:
            continue
        seen.add(model.pretrained_from)
        classes, channels, size = shapes[trial.data.pixels()]
        from hwcls import models

        with _placed(sweep, trial):
            models.build(model, classes=classes, channels=channels, image_size=size)


@contextmanager
def _placed(sweep: Sweep, trial: TrialConfig) -> Iterator[None]:
    """Give a model's error the place of its alternative."""
    try:
        yield
    except UserError as error:
        branch = ("choice", trial.model.label) if trial.model.label else ()
        where = sweep.source.where(("parameters", "model", *branch))
        raise UserError(error.what, where=where, remedy=error.remedy) from None


def _identity(trial: TrialConfig, classes: int, channels: int, size: int) -> str:
    """The model's identity."""
    asked = {"classes": classes, "channels": channels, "image_size": size}

    def find() -> str:
        from hwcls.models.summary import identity

        return identity(trial.model, **asked)

    return _remembered("identity", trial, asked, find)


def _weights(trial: TrialConfig, classes: int, channels: int, size: int) -> Weights:
    """The model's size."""
    asked = {"classes": classes, "channels": channels, "image_size": size}
    found = _remembered("weights", trial, asked, lambda: json.dumps(vars(weigh(trial, classes, channels, size))))
    return Weights(**json.loads(found))


def _remembered(kind: str, trial: TrialConfig, asked: dict[str, int], find: Callable[[], str]) -> str:
    """What `find` says of a model, from the cache where it was found before: a stale one would be of another hwcls."""
    from hwcls import __version__
    from hwcls.data.catalog import cache_folder

    settings = trial.model.model_dump(mode="json", exclude={"label"})
    description = json.dumps([kind, __version__, settings, *asked.values()])
    digest = hashlib.blake2b(description.encode(), digest_size=16).hexdigest()
    mark = cache_folder() / "models" / digest
    if mark.exists() and trial.model.source_file is None:  # a user's file may have changed
        return mark.read_text("utf-8")
    found = find()
    files.write_text(mark, found)
    return found
