"""Optimizers, learning rate schedules, and the metric that selects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from hwcls.config.base import Epochs, Frozen, Labelled
from hwcls.errors import did_you_mean


class Optimizer(Labelled):
    """The settings of every optimizer."""

    lr: float = Field(1e-3, gt=0, description="Learning rate.", examples=[{"min": 1e-4, "max": 1e-2, "log": True}])
    weight_decay: float = Field(
        0.0,
        ge=0,
        description="Weight decay; not of norms, biases, class tokens and position embeddings.",
        examples=[{"min": 1e-6, "max": 1e-2, "log": True}],
    )


class AdamConfig(Optimizer):
    """Adam (arXiv 1412.6980); its weight decay is L2 in the gradient."""

    name: Literal["adam"] = "adam"


class AdamWConfig(Optimizer):
    """AdamW (arXiv 1711.05101)."""

    name: Literal["adamw"] = "adamw"


class SgdConfig(Optimizer):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"] = "sgd"
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum.", examples=[{"min": 0.8, "max": 0.98}])
    nesterov: bool = Field(False, description="Nesterov's momentum.")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SgdConfig:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs momentum above 0 — raise momentum or set nesterov: false")
        return self


OptimizerConfig = Annotated[AdamConfig | AdamWConfig | SgdConfig, Field(discriminator="name")]


class Scheduler(Labelled):
    """The settings of every schedule."""

    warmup: Epochs = Field(0, ge=0, description="Linear rise of the learning rate, updated every step.", examples=[1])


class ConstantConfig(Scheduler):
    """A constant learning rate."""

    name: Literal["constant"] = "constant"


class PlateauConfig(Scheduler):
    """torch's ReduceLROnPlateau on the trial's validation metric, once an epoch."""

    name: Literal["plateau"] = "plateau"
    factor: float = Field(
        0.1, gt=0, lt=1, description="Factor on the learning rate.", examples=[{"values": [0.2, 0.5]}]
    )
    patience: Epochs = Field(
        3, ge=0, description="Without improvement, before the rate is lowered.", examples=[{"min": 2, "max": 4}]
    )
    min_lr: float = Field(0.0, ge=0, description="Lowest learning rate.", examples=[1e-5])


class CosineConfig(Scheduler):
    """Cosine decay to `min_lr` over the epochs after the warm-up (arXiv 1608.03983)."""

    name: Literal["cosine"] = "cosine"
    min_lr: float = Field(0.0, ge=0, description="Learning rate at the end.", examples=[1e-5])


class OneCycleConfig(Scheduler):
    """The rate rises to `lr` and falls again, both along a cosine and updated every step (arXiv 1708.07120)."""

    name: Literal["one_cycle"] = "one_cycle"
    rise: float = Field(0.3, gt=0, lt=1, description="Share of the steps in which the rate rises.")
    start: float = Field(0.04, gt=0, le=1, description="Learning rate before the rise, as a share of `lr`.")
    end: float = Field(4e-6, ge=0, le=1, description="Learning rate after the fall, as a share of `lr`.")

    @model_validator(mode="after")
    def _has_own_warmup(self) -> OneCycleConfig:
        if self.warmup:
            raise ValueError("one_cycle has its own warm-up — remove warmup and set rise")
        return self


SchedulerConfig = Annotated[ConstantConfig | PlateauConfig | CosineConfig | OneCycleConfig, Field(discriminator="name")]

METRICS = {"val/accuracy": "maximize", "val/macro_f1": "maximize", "val/loss": "minimize"}


@dataclass(frozen=True)
class Cost:
    """A figure of `cost` in a trial's result.json that can be searched for beside the metric."""

    recorded: str  # its key there
    goal: str | None  # None: it depends, so that the sweep file must name it
    unit: str
    axis: str  # in charts, with the unit


COSTS = {
    "cost/latency": Cost("latency_ms", "minimize", "ms", "ms for a single image"),
    "cost/inference": Cost("inference_ms", "minimize", "ms", "ms per image, in batches"),
    "cost/parameters": Cost("parameters", "minimize", "parameters", "parameters"),
    "cost/flops": Cost("flops", "minimize", "FLOPs", "FLOPs of an image"),
    "cost/memory": Cost("memory_mb", "minimize", "MiB", "MiB of a training step"),
    "cost/receptive_field": Cost("receptive_field", None, "pixels", "pixels of the receptive field"),
}


class CostConfig(Frozen):
    """A further metric of a sweep with several: what a trial's model costs."""

    name: str = Field(
        description="What the model costs.", json_schema_extra={"enum": list(COSTS)}, examples=["cost/latency"]
    )
    goal: Literal["maximize", "minimize"] = Field(
        description="Only of cost/receptive_field: the others have one.", examples=["minimize"]
    )

    @model_validator(mode="before")
    @classmethod
    def _goal_follows_name(cls, value: object) -> object:
        given = {"name": value} if isinstance(value, str) else value
        if not isinstance(given, dict) or not isinstance(name := given.get("name"), str):
            return given
        if name in METRICS:
            what = f"{name} as a further metric, but these are costs of the model"
            raise ValueError(f"{what} — write {', '.join(COSTS)}")
        if name not in COSTS:
            raise ValueError(f"unknown metric '{name}' — {did_you_mean(name, COSTS)}")
        goal = COSTS[name].goal
        if goal is None and given.get("goal") is None:
            raise ValueError(f"{name} has no direction by itself — write {{name: {name}, goal: minimize}} or maximize")
        if goal is not None and given.get("goal", goal) != goal:
            raise ValueError(f"{name} is better when {goal}d — leave its goal out")
        return {"goal": goal, **given}

    @model_serializer(mode="wrap")
    def _by_name(self, plain: SerializerFunctionWrapHandler) -> Any:
        """The name alone, where it says all."""
        return self.name if COSTS[self.name].goal else plain(self)

    def __str__(self) -> str:
        """The name, with the goal where the name does not say it."""
        return self.name if COSTS[self.name].goal else f"{self.name} ({self.goal})"

    @property
    def recorded(self) -> str:
        """Its key in `cost` of a trial's result.json."""
        return COSTS[self.name].recorded

    @property
    def unit(self) -> str:
        """In a sentence, after the number."""
        return COSTS[self.name].unit

    @property
    def axis(self) -> str:
        """In a chart."""
        return COSTS[self.name].axis

    def value(self, cost: Mapping[str, Any]) -> float | None:
        """The figure among those of a trial; None where it could not be measured."""
        found = cost.get(self.recorded)
        if not isinstance(found, (int, float)) or isinstance(found, bool) or not math.isfinite(found):
            return None
        return float(found)


def _first_of_several(value: list[Any] | tuple[Any, ...]) -> object:
    if not value:
        raise ValueError("metric is an empty list — write val/accuracy")
    first, *others = value
    first = {"name": first} if isinstance(first, str) else first
    return {**first, "costs": others} if isinstance(first, dict) and others else first


class MetricConfig(Frozen):
    """The validation metric that selects epochs and trials, and drives the plateau schedule.

    A sweep file may list further ones, `[val/accuracy, cost/latency]`: then the search is for the trials that no other
    one beats in all of them.
    """

    name: Literal["val/accuracy", "val/macro_f1", "val/loss"] = Field(
        "val/accuracy", description="The metric on val that selects epochs and trials."
    )
    goal: Literal["maximize", "minimize"] = Field(
        "maximize", description="Follows from the name: loss is minimized, the others maximized.", examples=["maximize"]
    )
    costs: Annotated[tuple[CostConfig, ...], Field(strict=False)] = Field(
        (),
        description="Further metrics, of what the model costs; shorter as a list: [val/accuracy, cost/latency].",
        examples=[["cost/latency"]],
    )

    @model_validator(mode="before")
    @classmethod
    def _goal_follows_name(cls, value: object) -> object:
        if isinstance(value, (list, tuple)):
            value = _first_of_several(value)
        if isinstance(value, str):
            value = {"name": value}
        if isinstance(value, dict) and isinstance(name := value.get("name"), str):
            if name in COSTS:
                what = f"{name} as the first metric, but epochs are selected by it, on val"
                cost = name if COSTS[name].goal else f"{{name: {name}, goal: minimize}}"
                raise ValueError(f"{what} — write [val/accuracy, {cost}]")
            value = {"goal": METRICS[name], **value} if name in METRICS else value
        return value

    @model_validator(mode="after")
    def _goal_fits_name(self) -> MetricConfig:
        if self.goal != METRICS[self.name]:
            raise ValueError(f"{self.name} is better when {METRICS[self.name]}d — set goal: {METRICS[self.name]}")
        names = [cost.name for cost in self.costs]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{twice[0]} is named twice — name each metric once")
        return self

    @model_serializer(mode="wrap")
    def _without_no_costs(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As versions with one metric wrote it, where there is one."""
        found: dict[str, Any] = plain(self)
        return found if self.costs else {key: value for key, value in found.items() if key != "costs"}

    def better(self, new: float, old: float) -> bool:
        """Whether `new` beats `old`; NaN never does."""
        return new > old if self.goal == "maximize" else new < old

    @property
    def worst(self) -> float:
        """The value that every other is better than."""
        return float("-inf") if self.goal == "maximize" else float("inf")
