"""The models that `hwcls check` and `hwcls profile` work on: a sweep file's alternatives, or a single trial's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hwcls import models
from hwcls.config.space import Choice, Fixed
from hwcls.config.sweep_file import Sweep, load_sweep, load_trial
from hwcls.config.trial import TrialConfig
from hwcls.config.yaml_source import read_source
from hwcls.data.imageset import ImageSet
from hwcls.errors import UserError
from hwcls.inspection.load_trained import trial_config
from hwcls.models.user.code import accept_named
from hwcls.training.image_size import size_sweep, size_trial


@dataclass(frozen=True)
class Target:
    """A named model with its data and training."""

    name: str
    config: TrialConfig


def find_targets(path: Path, preset: str | None = None, sets: Sequence[str] = ()) -> tuple[list[Target], Sweep | None]:
    """The alternatives of a sweep file, each with the first or lowest value of its parameters; or a trial's config.

    Alternatives are those of `compare` and of a choice of models. Also returns the sweep, if `path` is one. Raises
    UserError as `load_sweep` and `trial_config` do.
    """
    if path.is_dir() or path.name == "config.yaml" or (path.is_file() and "model" in read_source(path).values):
        if preset is not None or sets:
            raise UserError("--preset and --set change a sweep file, this is a trial", where=str(path))
        name = (path.parent if path.name == "config.yaml" else path).absolute().name
        return [Target(name, size_trial(load_trial(path) if path.is_file() else trial_config(path))[0])], None
    sweep = load_sweep(path, preset, sets)
    accept_named((trial.model for trial in sweep.corners), path)
    sweep = size_sweep(sweep)
    pinned = {alternative.label: dict(alternative.settings) for alternative in sweep.alternatives}
    for parameter, under in sweep.space.parameters():
        if isinstance(parameter, Choice) and parameter.path == ("model",):
            pinned |= {label: {**under, parameter.name: label} for label in parameter.branches if label not in pinned}
    found = {name: sweep.trial(Fixed(settings)) for name, settings in (pinned or {"model": {}}).items()}
    return [Target(name, config) for name, config in found.items()], sweep


def check_models(sweep: Sweep, open_set: Sequence[ImageSet]) -> tuple[int, list[str]]:
    """Run every distinct model of the sweep's corners once, without memory for weights: their number, and errors."""
    distinct = {trial.model.model_dump_json(): trial.model for trial in sweep.corners}
    failed = []
    for config in distinct.values():
        for data in open_set:
            try:
                models.check(config, classes=len(data.classes), channels=data.channels, image_size=data.image_size)
            except UserError as error:
                label = f"{config.label}: " if config.label else ""
                failed.append(f"{label}{error}")
                break
    return len(distinct), sorted(set(failed))
