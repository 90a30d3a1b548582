"""Optimizers, learning rate schedules, and the metric that selects."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hwcls.config.base import Frozen, Labelled


class Optimizer(Labelled):
    """The settings of every optimizer."""

    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)  # not applied to norms, biases, class tokens and position embeddings


class AdamConfig(Optimizer):
    """Adam (arXiv 1412.6980); its weight decay is L2 in the gradient."""

    name: Literal["adam"] = "adam"


class AdamWConfig(Optimizer):
    """AdamW (arXiv 1711.05101)."""

    name: Literal["adamw"] = "adamw"


class SgdConfig(Optimizer):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"] = "sgd"
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SgdConfig:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs momentum above 0 — raise momentum or set nesterov: false")
        return self


OptimizerConfig = Annotated[AdamConfig | AdamWConfig | SgdConfig, Field(discriminator="name")]


class Scheduler(Labelled):
    """The settings of every schedule."""

    warmup: int = Field(0, ge=0)  # epochs of a linear rise of the learning rate, updated every step


class ConstantConfig(Scheduler):
    """A constant learning rate."""

    name: Literal["constant"] = "constant"


class PlateauConfig(Scheduler):
    """torch's ReduceLROnPlateau on the trial's validation metric, once an epoch."""

    name: Literal["plateau"] = "plateau"
    factor: float = Field(0.1, gt=0, lt=1)
    patience: int = Field(3, ge=0)  # epochs without improvement before the rate is lowered
    min_lr: float = Field(0.0, ge=0)


class CosineConfig(Scheduler):
    """Cosine decay to `min_lr` over the epochs after the warm-up (arXiv 1608.03983)."""

    name: Literal["cosine"] = "cosine"
    min_lr: float = Field(0.0, ge=0)


class OneCycleConfig(Scheduler):
    """The rate rises to `lr` and falls again, both along a cosine and updated every step (arXiv 1708.07120)."""

    name: Literal["one_cycle"] = "one_cycle"
    rise: float = Field(0.3, gt=0, lt=1)  # share of the steps in which the rate rises
    start: float = Field(0.04, gt=0, le=1)  # of lr, before the rise
    end: float = Field(4e-6, ge=0, le=1)  # of lr, after the fall

    @model_validator(mode="after")
    def _has_own_warmup(self) -> OneCycleConfig:
        if self.warmup:
            raise ValueError("one_cycle has its own warm-up — remove warmup and set rise")
        return self


SchedulerConfig = Annotated[ConstantConfig | PlateauConfig | CosineConfig | OneCycleConfig, Field(discriminator="name")]

METRICS = {"val/accuracy": "maximize", "val/macro_f1": "maximize", "val/loss": "minimize"}


class MetricConfig(Frozen):
    """The validation metric that selects epochs and trials, and drives the plateau schedule."""

    name: Literal["val/accuracy", "val/macro_f1", "val/loss"] = "val/accuracy"
    goal: Literal["maximize", "minimize"] = "maximize"

    @model_validator(mode="before")
    @classmethod
    def _goal_follows_name(cls, value: object) -> object:
        if isinstance(value, str):
            value = {"name": value}
        if isinstance(value, dict) and isinstance(value.get("name"), str) and value["name"] in METRICS:
            return {"goal": METRICS[value["name"]], **value}
        return value

    @model_validator(mode="after")
    def _goal_fits_name(self) -> MetricConfig:
        if self.goal != METRICS[self.name]:
            raise ValueError(f"{self.name} is better when {METRICS[self.name]}d — set goal: {METRICS[self.name]}")
        return self

    def better(self, new: float, old: float) -> bool:
        """Whether `new` beats `old`; NaN never does."""
        return new > old if self.goal == "maximize" else new < old

    @property
    def worst(self) -> float:
        """The value that every other is better than."""
        return float("-inf") if self.goal == "maximize" else float("inf")
