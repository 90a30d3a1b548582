"""The largest model of each alternative, found by coordinate ascent over models that are built without memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hwcls.config.optim import OptimizerConfig, SgdConfig
from hwcls.config.space import Choice, Fixed, Parameter, Range
from hwcls.config.sweep_file import Sweep
from hwcls.config.trial import TrialConfig
from hwcls.errors import UserError

HEAVY_DATA = (("data", "batch_size"), ("data", "image_size"))
FEW = 8  # an integer range of so many values is tried completely, a longer one only at its ends


@dataclass(frozen=True)
class ModelSize:
    """The size of a model's weights and optimizer state."""

    all: int  # bytes of weights and buffers
    trained: int  # bytes of trained weights
    tensors: int
    layers: int  # trained weights of more than one axis
    moments: int = 2  # values that the optimizer keeps for each trained weight
    averaged: bool = False  # whether a moving average of the weights is kept

    @property
    def file(self) -> int:
        """Bytes of a safetensors file."""
        return self.all + 200 * self.tensors + 8_000

    @property
    def state(self) -> int:
        """Bytes of model, optimizer and moving average in a checkpoint."""
        return self.all * (2 if self.averaged else 1) + self.moments * self.trained


Measure = Callable[[TrialConfig], ModelSize]


def largest_models(sweep: Sweep, measure: Measure) -> dict[str | None, ModelSize]:
    """The largest model of each alternative; by None where the sweep compares nothing."""
    corners = sweep.corners
    moments = max(optimizer_moments(trial.optimizer) for trial in corners)
    averaged = any(trial.ema for trial in corners)
    found: dict[str | None, ModelSize] = {}
    for label, settings in _pinned(sweep):
        largest, _ = _largest(sweep, settings, measure)
        found[label] = replace(largest, moments=moments, averaged=averaged)
    return found


def heaviest_trials(sweep: Sweep, measure: Measure, most: int) -> list[tuple[str | None, TrialConfig]]:
    """For each alternative the largest model on the largest batches and images; at most so many, the largest first."""
    found = []
    for label, settings in _pinned(sweep):
        size, settings = _largest(sweep, settings, measure)
        found.append((size.all, label, sweep.trial(Fixed(_heaviest_data(sweep, settings)))))
    found.sort(key=lambda one: one[0], reverse=True)
    return [(label, trial) for _, label, trial in found[:most]]


def _pinned(sweep: Sweep) -> list[tuple[str | None, Mapping[str, Any]]]:
    """What is fixed in each alternative."""
    return [(one.label, one.settings) for one in sweep.alternatives] or [(None, {})]


def _largest(sweep: Sweep, settings: Mapping[str, Any], measure: Measure) -> tuple[ModelSize, dict[str, Any]]:
    """The largest model with some `settings`, and its own."""
    starts = _start_points(sweep, settings)
    models = [found for start in starts if (found := _maximize_size(sweep, start, measure)) is not None]
    if not models:
        raise UserError("no model of this sweep can be built", where=sweep.source.where(("parameters", "model")))
    return max(models, key=lambda model: model[0].all)


def _heaviest_data(sweep: Sweep, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with the most images and pixels in a batch, as far as a trial may have them."""
    for parameter, under in sweep.space.parameters():
        is_free = parameter.path in HEAVY_DATA and parameter.name not in settings
        if is_free and all(settings.get(name, label) == label for name, label in under.items()):
            for value in sorted((end for end in parameter.ends() if isinstance(end, int)), reverse=True):
                heavier = {**settings, **under, parameter.name: value}
                if sweep.find_trial(heavier) is not None:
                    settings = heavier
                    break
    return settings


def optimizer_moments(optimizer: OptimizerConfig) -> int:
    """How many values an optimizer keeps for each trained weight."""
    if isinstance(optimizer, SgdConfig):
        return 1 if optimizer.momentum else 0
    return 2


def measure_model(trial: TrialConfig, classes: int, channels: int, side: int) -> ModelSize:
    """The size of a trial's model, built without its weights; raises UserError as `models.build_skeleton` does."""
    from hwcls import models

    model = models.build_skeleton(trial.model, classes=classes, channels=channels, image_size=side)
    state = model.state_dict().values()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    return ModelSize(
        all=sum(tensor.numel() * tensor.element_size() for tensor in state),
        trained=sum(weight.numel() * weight.element_size() for weight in trained),
        tensors=len(state),
        layers=sum(weight.ndim > 1 for weight in trained),
    )


def _start_points(sweep: Sweep, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where coordinate ascent starts: `settings`, once for each branch of the model if they leave that open."""
    for parameter, under in sweep.space.parameters():
        is_model = isinstance(parameter, Choice) and parameter.path == ("model",) and not under
        if is_model and parameter.name not in settings:
            return [{**settings, parameter.name: label} for label in parameter.ends()]
    return [dict(settings)]


def _maximize_size(sweep: Sweep, settings: dict[str, Any], measure: Measure) -> tuple[ModelSize, dict[str, Any]] | None:
    """Coordinate ascent over the model's parameters, two passes: the largest model and its settings; None: none."""
    settings = dict(settings)
    start = sweep.find_trial(settings)
    is_users = start is not None and start.model.source_file is not None
    pinned = set(settings)
    best = _try_settings(sweep, settings, measure)
    for _ in range(2):
        for parameter, under in sweep.space.parameters():
            is_free = parameter.path[0] == "model" and parameter.name not in pinned
            if not is_free or any(settings.get(name) != label for name, label in under.items()):
                continue
            for value in _candidates(parameter, is_users):
                tried = {**settings, parameter.name: value}
                found = _try_settings(sweep, tried, measure)
                if found is not None and (best is None or found.all >= best.all):  # among equals the highest value
                    best, settings = found, tried
    return None if best is None else (best, settings)


def _candidates(parameter: Parameter, is_users: bool) -> list[Any]:
    """The values to try; in built-in models real numbers (shares, rates) do not change the size."""
    if isinstance(parameter, Range) and not parameter.integer:
        return parameter.ends() if is_users else []
    if isinstance(parameter, Range) and not parameter.log and len(parameter.grid()) <= FEW:
        return parameter.grid()
    return parameter.ends()


def _try_settings(sweep: Sweep, settings: Mapping[str, Any], measure: Measure) -> ModelSize | None:
    trial = sweep.find_trial(settings)
    try:
        return None if trial is None else measure(trial)
    except UserError:  # settings with which no model can be built
        return None
