"""Preparation before the first trial: data is decoded, splits are saved, every model is built once."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hwcls import files
from hwcls.config.data import ChosenSize, DataConfig, title_of
from hwcls.config.space import same_value
from hwcls.config.sweep_file import Sweep
from hwcls.config.trial import TrialConfig
from hwcls.config.yaml_source import YamlSource
from hwcls.data.augment.defaults import default_augment, describe_augment
from hwcls.data.cuts.describe import describe_origins
from hwcls.data.cuts.table import write_split_tables
from hwcls.data.formats.image_types import nfc
from hwcls.data.imageset import ImageSet, open_data
from hwcls.data.input_words import describe_decoded
from hwcls.data.progress import ProgressReporter
from hwcls.errors import UserError
from hwcls.models.alternatives import describe_same_models, expand_alternatives, group_same_models
from hwcls.models.weights.describe import describe_weights, weights_note
from hwcls.models.weights.source import FoundWeights
from hwcls.reading import read_json, read_or_none
from hwcls.results.notes.test_size import split_notes
from hwcls.sweep.preflight.cuts import check_cuts
from hwcls.sweep.preflight.disk_usage import DataSize
from hwcls.sweep.preflight.features.disk import check_cache, pixel_bytes
from hwcls.sweep.preflight.features.jobs import FeatureJob, feature_width, list_jobs
from hwcls.sweep.preflight.model_size import ModelSize, heaviest_trials, largest_models, measure_model
from hwcls.sweep.preflight.validate import locate_data_error, locate_model
from hwcls.sweep.storage.user_code import check_trust, copy_sources, with_copied_source
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.shapes import DataShape
from hwcls.training.artifacts import save_arrays

log = logging.getLogger(__name__)

HEAVIEST = 4  # trials whose use of a GPU is measured, which takes some seconds each
Shapes = dict[DataConfig, tuple[int, int, int]]  # classes, channels, side


@dataclass(frozen=True)
class Prepared:
    """What is known of a sweep before its first trial."""

    sources: dict[str, str]  # what `copy_sources` returns
    models: dict[str | None, ModelSize]  # the largest model of each alternative
    data_size: DataSize
    data: dict[DataConfig, str]  # each distinct data set, and the digest of its splits
    notes: list[str]  # what a user should know and may have meant otherwise
    described: list[str]  # the data sets, how their files were read, test and val came to be; where weights come from
    pixels: int  # bytes of the decoded images
    features: tuple[FeatureJob, ...] = ()  # that are computed once, before the first trial


def prepare(sweep: Sweep, path: Path) -> Prepared:
    """Decode the data, save the splits, copy the user's files, and build the model of every branch.

    Raises:
        UserError: Data is missing, or a model cannot be built.
    """
    prepared = check_content(sweep, path, path, log.info)
    for line in prepared.described:
        log.info("%s", line)
    for note in prepared.notes:
        log.warning("%s", note)
    shapes = shapes_of(open_data_sets(sweep.corners, sweep.source))
    hub = [trial for trial in sweep.corners if trial.model.weights_file is None]
    check_pretrained(hub, shapes, sweep.source)  # which downloads weights that are missing
    return with_features(prepared, sweep)


def check_content(sweep: Sweep, path: Path, into: Path, progress: ProgressReporter) -> Prepared:
    """Check all that a sweep trains, for its start and for a dry run; only hub weights are not downloaded.

    Args:
        sweep: A sweep that `check_sweep` has checked.
        path: Its results folder, whose earlier trials must fit; it need not exist.
        into: Where the user's files, splits.npz, splits.csv, data.json and models.json are written.
        progress: Gets a line now and then while data is decoded.

    Raises:
        UserError: Data is missing or has changed, a model cannot be built, or its code is not trusted.
    """
    sources = copy_sources(sweep, path, into)
    if sources:
        check_trust(SweepFolder(path))
    corners = [with_copied_source(trial, sources) for trial in sweep.corners]
    sets = open_data_sets(corners, sweep.source, progress)
    if sweep.earlier:
        sets = {key: _of_version_0_1(images) for key, images in sets.items()}
    former = _check_same_images(sets, path)
    labels = _labels_of(corners)
    save_splits(sets, into, _size_reasons(sweep, path), labels, former)
    write_split_tables(sets, into)
    shapes = shapes_of(sets)
    check_models_build(corners, shapes, sweep.source)
    weights = _find_weights(corners, sweep.source)
    check_pretrained([trial for trial in corners if trial.model.weights_file is not None], shapes, sweep.source)
    by_label = expand_alternatives(sweep).items()
    copied = {label: [with_copied_source(trial, sources) for trial in trials] for label, trials in by_label}
    groups = group_same_models(copied, lambda trial: _identity(trial, *_shape_of(trial, shapes, sweep.source)))
    files.write_json(into / "models.json", {"same": groups})
    notes = [*_split_notes(sets.values()), *_model_notes(corners, shapes), *map(describe_same_models, groups)]
    notes += [note for note in map(weights_note, weights) if note]
    described = [line for lines in dict.fromkeys(map(_describe, sets.values())) for line in lines]
    described += describe_decoded(list(sets.values()), [labels[key] for key in sets])
    described += map(describe_weights, weights)
    digests = {key: images.split_digest() for key, images in (sets | check_cuts(sweep, sets)).items()}
    sizes = measure_sizes(sweep, sets, sources)
    return Prepared(sources, *sizes, digests, notes, described, pixel_bytes(sets.values()))


def with_features(prepared: Prepared, sweep: Sweep) -> Prepared:
    """With the features that are computed once; raises UserError where they do not fit into the cache."""
    features = list_features(sweep)
    check_cache(features, prepared.pixels)
    return replace(prepared, features=features)


def list_features(sweep: Sweep) -> tuple[FeatureJob, ...]:
    """The features that a sweep computes once; raises UserError with the place of a data set that cannot be opened."""

    @cache
    def opened(pixels: DataConfig) -> ImageSet:
        try:
            return open_data(pixels, log.info)
        except UserError as error:
            raise locate_data_error(error, sweep.source) from None

    def measure(trial: TrialConfig, images: ImageSet) -> int:
        shape = {"classes": len(images.classes), "channels": images.channels, "image_size": images.image_size}
        return int(_cached("features", trial, shape, lambda: str(feature_width(trial.model, **shape))))

    return list_jobs(sweep, lambda data: opened(data.pixels()), measure)


def list_heaviest(sweep: Sweep, sources: dict[str, str]) -> list[tuple[str, TrialConfig]]:
    """The trials that take the most of a GPU, a few at most, by names for them: see `heaviest_trials`.

    `sources` are those of `Prepared`; without them a user's model file is where the sweep file names it.
    """
    classes, channels, side = _largest_shape(open_data_sets(sweep.corners, sweep.source))

    def measure(trial: TrialConfig) -> ModelSize:
        return _model_size(with_copied_source(trial, sources), classes, channels, side)

    found = heaviest_trials(sweep, measure, HEAVIEST)
    return [(label or trial.model.name, with_copied_source(trial, sources)) for label, trial in found]


def _largest_shape(sets: dict[DataConfig, ImageSet]) -> tuple[int, int, int]:
    """The most classes and channels, and the largest side."""
    classes, channels, side = (max(values) for values in zip(*shapes_of(sets).values(), strict=True))
    return classes, channels, side


def measure_sizes(
    sweep: Sweep, sets: dict[DataConfig, ImageSet], sources: dict[str, str]
) -> tuple[dict[str | None, ModelSize], DataSize]:
    """The largest model of each alternative, and the largest shape of the data."""
    counts = [(len(images.val), len(images.test), len(images.train) + len(images.val)) for images in sets.values()]
    classes, channels, side = _largest_shape(sets)
    val, test, every = (max(values) for values in zip(*counts, strict=True))

    def measure(trial: TrialConfig) -> ModelSize:
        return _model_size(with_copied_source(trial, sources), classes, channels, side)

    return largest_models(sweep, measure), DataSize(classes, channels, side, val, test, every)


def open_data_sets(
    trials: Sequence[TrialConfig], place: YamlSource, progress: ProgressReporter | None = None
) -> dict[DataConfig, ImageSet]:
    """The data sets of some trials, each opened once; raises UserError with its place in the file."""
    sets: dict[DataConfig, ImageSet] = {}
    for trial in trials:
        key = trial.data.pixels()
        if key not in sets:
            try:
                sets[key] = open_data(trial.data, progress)
            except UserError as error:
                raise locate_data_error(error, place) from None
    return sets


def _find_weights(corners: Sequence[TrialConfig], place: YamlSource) -> list[FoundWeights]:
    """The pretrained weights of a sweep, each once, as its files can be read; raises UserError with its place."""
    found: dict[FoundWeights, None] = {}
    for trial in corners:
        with _model_errors_located(trial, place):
            if (weights := trial.model.find_pretrained()) is not None and weights not in found:
                weights_note(weights)
                found[weights] = None
    return list(found)


def _describe(images: ImageSet) -> tuple[str, ...]:
    """A line on what a data set is, and one on each step from its files to its splits."""
    counts = ", ".join(f"{len(getattr(images, split)):,} {split}" for split in ("train", "val", "test"))
    steps = [*images.found, "; ".join(describe_origins(images.facts()))]
    return f"{images.title}: {len(images.classes):,} classes; {counts}", *(f"  {step}" for step in steps)


def _split_notes(sets: Iterable[ImageSet]) -> list[str]:
    """What is to be known of the splits of each data set, each line once."""
    found = [
        f"{images.title}: {note}"
        for images in sets
        for note in (*images.origin.notes, *split_notes(images.name, images.classes, images.counts()))
    ]
    return list(dict.fromkeys(found))


def _model_notes(corners: Sequence[TrialConfig], shapes: Shapes) -> list[str]:
    """What is to be known of the models of a sweep, each line once."""
    notes: dict[str, None] = {}
    for trial in corners:
        notes |= dict.fromkeys(_notes_of(trial, *shapes[trial.data.pixels()]))
    return list(notes)


def _notes_of(trial: TrialConfig, classes: int, channels: int, size: int) -> list[str]:
    """The notes of one model; timm's run the backbone, which takes seconds."""
    shape = {"classes": classes, "channels": channels, "image_size": size}
    model = trial.model
    found = _cached("notes", trial, shape, lambda: json.dumps(model.notes(channels=channels, image_size=size)))
    notes: list[str] = json.loads(found)
    return notes


def _of_version_0_1(images: ImageSet) -> ImageSet:
    """The data set with the default augmentation of version 0.1, which the sweep keeps; logs where that is another."""
    augment = default_augment(images.name, earlier=True)
    if augment != images.augment:
        found = f"{images.title}: {describe_augment(augment)} where the sweep file has no augment"
        log.info("%s, as in the trials of version 0.1 that this sweep has", found)
    return replace(images, augment=augment)


def shapes_of(sets: dict[DataConfig, ImageSet]) -> Shapes:
    """The input and output shape of a model on each data set: classes, channels, side."""
    return {key: (len(images.classes), images.channels, images.image_size) for key, images in sets.items()}


def _shape_of(trial: TrialConfig, shapes: Shapes, place: YamlSource) -> tuple[int, int, int]:
    """The shape of a trial's model; data that is in no corner, as that of one backbone alone, is opened for it."""
    key = trial.data.pixels()
    return shapes[key] if key in shapes else shapes_of(open_data_sets([trial], place))[key]


def _labels_of(trials: Sequence[TrialConfig]) -> dict[DataConfig, list[str]]:
    """The names of the models that are trained on each data set."""
    found: dict[DataConfig, list[str]] = {}
    for trial in trials:
        names, name = found.setdefault(trial.data.pixels(), []), trial.model.label or trial.model.name
        names += [name] if name not in names else []
    return found


def save_splits(
    sets: Mapping[DataConfig, ImageSet],
    path: Path,
    reasons: Mapping[str, ChosenSize],
    labels: Mapping[DataConfig, list[str]],
    former: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write splits.npz and data.json: which images are train, val and test; several data sets are numbered.

    Args:
        reasons: Why the images have their size, by data set, where hwcls chose it.
        labels: The names of each data set's models.
        former: The entries of data sets that the sweep has trials of and its file has no more, kept for their return.
    """
    arrays, described = {}, []
    for number, (key, images) in enumerate(sets.items()):
        prefix = f"{number}/" if len(sets) > 1 else ""
        for name in ("train", "val", "test"):
            arrays[f"{prefix}{name}"] = getattr(images, name).rows
        chosen = reasons.get(images.name)  # models from scratch may have the images as their files are
        facts = images.facts() | ({"models": labels[key]} if len(sets) > 1 else {})
        facts |= {"image_size_reason": chosen.reason} if chosen and chosen.side == images.image_size else {}
        described.append({**facts, "settings": _settings(key), "fingerprint": _fingerprint(images)})
    save_arrays(path / "splits.npz", **arrays)
    more = {"others": described[1:], "former": list(former)}
    files.write_json(path / "data.json", {**described[0], **{key: entries for key, entries in more.items() if entries}})


def _size_reasons(sweep: Sweep, path: Path) -> dict[str, ChosenSize]:
    """Sizes that hwcls chose, and why, by data set; a sweep that continues keeps the reason of its first start."""
    found = read_or_none(read_json, path / "data.json", DataShape) or {}
    entries = {(one.get("name"), one.get("image_size")): one for one in (found, *found.get("others", ()))}
    reasons = {}
    for name, chosen in sweep.image_sizes.items():
        kept = entries.get((name, chosen.side), {}).get("image_size_reason")
        reasons[name] = replace(chosen, reason=str(kept or chosen.reason))
    return reasons


def _check_same_images(sets: Mapping[DataConfig, ImageSet], path: Path) -> list[dict[str, Any]]:
    """The entries of a results folder's data.json whose images are not in the file any more.

    Data sets of the file may have come, gone, come back or changed places since.

    Raises:
        UserError: The earlier trials were trained on other images: those of a data set are not recorded, but there is
            an entry with the same settings whose images are not in the file any more.
    """
    found = read_or_none(read_json, path / "data.json", DataShape)
    if found is None or not any(path.glob("trials/*/config.yaml")):
        return []
    first = {key: value for key, value in found.items() if key not in ("others", "former")}
    latest = (first, *found.get("others", ()))
    entries = (*latest, *found.get("former", ()))
    same = [(key, entry) for key, images in sets.items() for entry in _entries_with(images, entries)]
    gone = [entry for entry in entries if all(entry is not kept for _, kept in same)]
    alone = len(latest) == len(sets) == 1
    for key, images in sets.items():
        if all(key != kept for kept, _ in same) and any(_is_of(entry, key, images, alone) for entry in gone):
            what = f"the images of {images.title} have changed since this sweep started: its trials are not comparable"
            raise UserError(what, where=str(path), remedy="restore them, or use a new folder: hwcls sweep --new")
    return gone


def _entries_with(images: ImageSet, entries: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The entries of data.json that were written for these images; earlier versions kept no fingerprint."""
    fingerprint = _fingerprint(images)
    for entry in entries:
        spelled = tuple(entry.get("classes") or ())  # earlier versions kept each spelling of a name
        known = {None, fingerprint}
        if spelled != images.classes and tuple(map(nfc, spelled)) == images.classes:
            known.add(_fingerprint(replace(images, classes=spelled)))
        if entry.get("fingerprint") in known:
            yield entry


def _is_of(entry: dict[str, Any], key: DataConfig, images: ImageSet, alone: bool) -> bool:
    """Whether an entry of data.json is of the same data set with the same settings, whatever its images were.

    Photos that were moved keep their title; `alone`, as the only data set then and now, the name of their folder does,
    by which the trials are still drawn.
    """
    old, new = entry.get("path"), images.path
    if old is not None and new is not None and title_of(old) != images.title and not (alone and same_value(old, new)):
        return False
    if "settings" in entry:
        return bool(entry["settings"] == _settings(key))
    facts = images.to_dict()  # earlier versions kept no settings
    inputs = ("name", "image_size", "channels", "resize", "interpolation", "crop_pct")
    return all(entry.get(name, facts[name]) == facts[name] for name in inputs)


def _settings(key: DataConfig) -> dict[str, Any]:
    """What decides the images and their splits, apart from their place, which may change; without defaults."""
    unimportant = {"path", "augment", "batch_size", "label"}
    return key.model_dump(mode="json", exclude=unimportant, exclude_defaults=True)


def _fingerprint(images: ImageSet) -> str:
    """Hash of classes, splits, labels and the training pixels' mean and spread."""
    digest = hashlib.blake2b(repr((images.classes, *images.moments)).encode(), digest_size=16)
    for split in (images.train, images.val, images.test):
        digest.update(np.ascontiguousarray(split.rows).tobytes())
        digest.update(np.ascontiguousarray(split.labels).tobytes())
    return digest.hexdigest()


def check_models_build(trials: Sequence[TrialConfig], shapes: Shapes, place: YamlSource) -> None:
    """Build and run each distinct model; the cache remembers which passed.

    Raises:
        UserError: A model cannot be built; with the place of its alternative in the file.
    """
    for trial in trials:
        with _model_errors_located(trial, place):
            _identity(trial, *shapes[trial.data.pixels()])


def check_pretrained(trials: Sequence[TrialConfig], shapes: Shapes, place: YamlSource) -> None:
    """Load each file of pretrained weights and each backbone once, which downloads those that are missing.

    Raises:
        UserError: Weights are unavailable or do not fit; with the place of their alternative in the file.
    """
    seen = set()
    for trial in trials:
        model = trial.model
        if model.pretrained_from is None or model.pretrained_from in seen:
            continue
        seen.add(model.pretrained_from)
        classes, channels, size = shapes[trial.data.pixels()]
        from hwcls import models

        with _model_errors_located(trial, place):
            models.build(model, classes=classes, channels=channels, image_size=size)


@contextmanager
def _model_errors_located(trial: TrialConfig, place: YamlSource) -> Iterator[None]:
    """Give a model's error the place of its alternative in the file."""
    try:
        yield
    except UserError as error:
        raise UserError(error.what, where=locate_model(trial, place), remedy=error.remedy) from None


def _identity(trial: TrialConfig, classes: int, channels: int, size: int) -> str:
    """The fingerprint of a trial's model."""
    shape = {"classes": classes, "channels": channels, "image_size": size}

    def compute() -> str:
        from hwcls.models.summary import compute_identity

        return compute_identity(trial.model, **shape)

    return _cached("identity", trial, shape, compute)


def _model_size(trial: TrialConfig, classes: int, channels: int, size: int) -> ModelSize:
    shape = {"classes": classes, "channels": channels, "image_size": size}
    found = _cached("weights", trial, shape, lambda: json.dumps(vars(measure_model(trial, classes, channels, size))))
    return ModelSize(**json.loads(found))


def _cached(kind: str, trial: TrialConfig, shape: dict[str, int], compute: Callable[[], str]) -> str:
    """The result of `compute` for a trial's model, from the cache if this version of hwcls has computed it before."""
    from hwcls import __version__
    from hwcls.data.catalog import cache_folder

    settings = trial.model.model_dump(mode="json", exclude={"label"})
    description = json.dumps([kind, __version__, settings, *shape.values()])
    digest = hashlib.blake2b(description.encode(), digest_size=16).hexdigest()
    entry = cache_folder() / "models" / digest
    if entry.exists() and trial.model.source_file is None:  # a user's file may have changed
        return entry.read_text("utf-8")
    found = compute()
    files.write_text(entry, found)
    return found
