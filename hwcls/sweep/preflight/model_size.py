"""The largest model that the trials of each alternative can draw: built without memory, parameter by parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from hwcls.config.optim import OptimizerConfig, SgdConfig
from hwcls.config.space import Choice, Fixed, Parameter, Range
from hwcls.config.sweep_file import Sweep
from hwcls.config.trial import TrialConfig
from hwcls.errors import UserError

FEW = 8  # whole numbers of a range that are all tried; of more only its ends


@dataclass(frozen=True)
class Weights:
    """What a model's weights, and an optimizer beside them, take in a file."""

    all: int  # bytes of weights and buffers
    trained: int  # bytes
    tensors: int
    layers: int  # trained weights of more than one axis
    moments: int = 2  # that the optimizer keeps of each trained weight
    averaged: bool = False  # a second set of weights

    @property
    def file(self) -> int:
        """Bytes of a safetensors file."""
        return self.all + 200 * self.tensors + 8_000

    @property
    def state(self) -> int:
        """Bytes of what a checkpoint holds of model, optimizer and average."""
        return self.all * (2 if self.averaged else 1) + self.moments * self.trained


Weigh = Callable[[TrialConfig], Weights]


def heaviest(sweep: Sweep, weigh: Weigh) -> dict[str | None, Weights]:
    """The largest model of each alternative, under None where nothing is compared."""
    corners = sweep.corners
    moments = max(moments_of(trial.optimizer) for trial in corners)
    averaged = any(trial.ema for trial in corners)
    found: dict[str | None, Weights] = {}
    pinned: list[tuple[str | None, Mapping[str, Any]]] = [(a.label, a.settings) for a in sweep.alternatives]
    for label, settings in pinned or [(None, {})]:
        largest = max((_climb(sweep, start, weigh) for start in _starts(sweep, settings)), key=lambda w: w.all)
        found[label] = replace(largest, moments=moments, averaged=averaged)
    return found


def moments_of(optimizer: OptimizerConfig) -> int:
    """How many values an optimizer keeps of each trained weight."""
    if isinstance(optimizer, SgdConfig):
        return 1 if optimizer.momentum else 0
    return 2


def weigh(trial: TrialConfig, classes: int, channels: int, side: int) -> Weights:
    """Build a trial's model without memory for it; raises UserError as `models.skeleton` does."""
    from hwcls import models

    model = models.skeleton(trial.model, classes=classes, channels=channels, image_size=side)
    state = model.state_dict().values()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    return Weights(
        all=sum(tensor.numel() * tensor.element_size() for tensor in state),
        trained=sum(weight.numel() * weight.element_size() for weight in trained),
        tensors=len(state),
        layers=sum(weight.ndim > 1 for weight in trained),
    )


def _starts(sweep: Sweep, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings to climb from: one for each branch of the model that they leave open."""
    for parameter, under in sweep.space.parameters():
        of_models = isinstance(parameter, Choice) and parameter.path == ("model",) and not under
        if of_models and parameter.name not in settings:
            return [{**settings, parameter.name: label} for label in parameter.ends()]
    return [dict(settings)]


def _climb(sweep: Sweep, settings: dict[str, Any], weigh: Weigh) -> Weights:
    """Give one parameter of the model after the other the value that makes it largest, twice over."""
    settings = dict(settings)
    own = sweep.trial(Fixed(settings)).model.source_file is not None
    pinned = set(settings)
    best = _weight(sweep, settings, weigh)
    for _ in range(2):
        for parameter, under in sweep.space.parameters():
            here = parameter.path[0] == "model" and parameter.name not in pinned
            if not here or any(settings.get(name) != label for name, label in under.items()):
                continue
            for value in _values(parameter, own):
                tried = {**settings, parameter.name: value}
                found = _weight(sweep, tried, weigh)
                if found is not None and (best is None or found.all >= best.all):  # the last of equal ones: the highest
                    best, settings = found, tried
    if best is None:
        raise UserError("no model of this sweep can be built", where=sweep.source.where(("parameters", "model")))
    return best


def _values(parameter: Parameter, own: bool) -> list[Any]:
    """What may change the size: of hwcls's own models a share or a rate does not."""
    if isinstance(parameter, Range) and not parameter.integer:
        return parameter.ends() if own else []
    if isinstance(parameter, Range) and not parameter.log and len(parameter.grid()) <= FEW:
        return parameter.grid()
    return parameter.ends()


def _weight(sweep: Sweep, settings: Mapping[str, Any], weigh: Weigh) -> Weights | None:
    try:
        return weigh(sweep.trial(Fixed(settings)))
    except (ValidationError, UserError):  # this combination cannot be
        return None
