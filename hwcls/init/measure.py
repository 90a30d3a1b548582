"""How fast this machine trains each model of a plan, by training it for moments, as a dry run does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from hwcls.config.data import AugmentConfig, DataConfig
from hwcls.config.sweep import ResourcesConfig
from hwcls.config.trial import TrialConfig
from hwcls.init.budget import Pace, Speed
from hwcls.init.plan import Model
from hwcls.sweep.cluster.resources import choose_resources, this_machine
from hwcls.sweep.preflight.simulate import Waits
from hwcls.sweep.preflight.timing import MAX_GROUPS, Timing, TrialTime, time_trials

REPEATS = 2  # of each measurement in each process: another program may disturb one


def time_models(models: Sequence[Model], data: DataConfig) -> Timing:
    """Train each model at its first and its last settings for moments, on as many processes as a sweep will have.

    The times of a model are one for its first and one for its last settings, each the median of several. Of a model
    with cached features the time in which they are computed comes with it.

    Raises:
        UserError: A model cannot be trained, or there is too little memory.
    """
    resources = choose_resources(ResourcesConfig(), this_machine(), "")
    groups = min(resources.concurrent, MAX_GROUPS)
    ends = {f"{model.label}/{end}": _trial(model, data, end) for model in models for end in (0, -1)}
    probes = [trial for trial in ends.values() if trial.cached_views(AugmentConfig()) is not None][:1]
    found = time_trials(list(ends.items()) * groups * REPEATS, resources, len(ends) * groups * REPEATS, 0.0, probes)
    times: dict[str, list[TrialTime]] = {}
    for name, measured in found.trials.items():
        ordered = sorted(measured, key=lambda time: time.epoch)
        times.setdefault(name.rpartition("/")[0], []).append(ordered[(len(ordered) - 1) // 2])
    return Timing(found.start, times, found.features)


def pace_of(timing: Timing, concurrent: int, images: int = 0) -> Pace:
    """What a schedule needs to know of measured times; features of so many images are computed once."""
    waits = Waits.from_start(timing.start, workers=1)
    once = sum(timing.features) * images / concurrent
    idle = waits.before + (3 if once else 2) * waits.group + waits.score + waits.after
    speeds = {}
    for label, times in timing.trials.items():
        epochs = [time.epoch + waits.record for time in times]
        speeds[label] = Speed(fmean(epochs), max(epochs))
    return Pace(idle, concurrent, speeds, once)


def _trial(model: Model, data: DataConfig, end: int) -> TrialConfig:
    """A trial of a model with one end of each range and list of values."""
    values = {"data": data.model_dump(), "model": _fixed(model.settings, end), "optimizer": {"name": "adamw"}}
    return TrialConfig.from_dict({**values, "epochs": 1})


def _fixed(value: Any, end: int) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {"values"}:
            return value["values"][end]
        if "min" in value and "max" in value:
            return value["max" if end else "min"]
        return {key: _fixed(part, end) for key, part in value.items()}
    return value
