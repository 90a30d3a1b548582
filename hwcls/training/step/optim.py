"""Optimizers and learning-rate schedules, built from their configs."""

from __future__ import annotations

import fnmatch
import functools
import inspect
import math
import re
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from hwcls.config.optim import (
    CosineConfig,
    MetricConfig,
    OneCycleConfig,
    OptimizerConfig,
    PlateauConfig,
    SchedulerConfig,
    SgdConfig,
)
from hwcls.errors import UserError

KINDS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
# what modules call class tokens and position embeddings; not all of timm's name them in `no_weight_decay()`
EMBEDDING = re.compile(r"(.*\.)?(cls_token|class_token|pos_embed\w*(\.weight)?|rel_pos_[hw]|(height|width)_rel)")
WRAPPED = ("step", "zero_grad", "add_param_group", "state_dict", "load_state_dict")


def build_optimizer(
    config: OptimizerConfig, model: nn.Module, scales: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """A fused optimizer over the trainable weights, in groups of one `lr_scale` and one weight decay.

    `scales` are factors on the learning rate by the weights' names, which `Schedule` applies; weights that are not in
    it have 1 and are the first groups, apart from all others. Weight decay excludes norms, biases (at most one axis),
    class tokens, position embeddings, and what else a module names in `no_weight_decay()`, as timm's models do.
    """
    groups = [
        {"params": weights, "weight_decay": 0.0 if spared else config.weight_decay, "lr_scale": scale}
        for scale, spared, weights in _sort(model, scales or {}, _undecayed(model))
    ]
    settings: dict[str, Any] = {"lr": config.lr, "fused": True}
    if isinstance(config, SgdConfig):
        settings |= {"momentum": config.momentum, "nesterov": config.nesterov}
    optimizer: torch.optim.Optimizer = _without_compiler(KINDS[config.name])(groups, **settings)
    return optimizer


def restore_groups(
    optimizer: torch.optim.Optimizer, model: nn.Module, scales: Mapping[str, float], state: Mapping[str, Any]
) -> None:
    """Give each group the weights that it has in a `state_dict` of this training, which may be an earlier version's.

    Those decayed what no module names literally; a training that began so ends so.
    """
    sizes = [len(group["params"]) for group in state["param_groups"]]
    if sizes != [len(group["params"]) for group in optimizer.param_groups]:
        earlier = _sort(model, scales, _named_by_modules(model))
        if len(earlier) != len(optimizer.param_groups):
            what = "the checkpoint is of a version that decayed position embeddings"
            raise UserError(what, where="checkpoint", remedy="train it again")
        for group, (_, _, weights) in zip(optimizer.param_groups, earlier, strict=True):
            group["params"] = weights


def _sort(
    model: nn.Module, scales: Mapping[str, float], undecayed: Collection[str]
) -> list[tuple[float, bool, list[nn.Parameter]]]:
    """The trainable weights in groups, each with its scale and whether weight decay spares it."""
    found: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}  # by how they are sorted
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            spared = weight.ndim <= 1 or name in undecayed
            found.setdefault((name in scales, -scales.get(name, 1.0), spared), []).append(weight)
    return [(-scale, spared, weights) for (_, scale, spared), weights in sorted(found.items(), key=lambda one: one[0])]


def _undecayed(model: nn.Module) -> set[str]:
    """The names of weights of several axes that are not decayed."""
    names = [name for name, _ in model.named_parameters()]
    named = {name for pattern in _named_by_modules(model) for name in fnmatch.filter(names, pattern)}
    return named | set(filter(EMBEDDING.fullmatch, names))


def _named_by_modules(model: nn.Module) -> set[str]:
    """What modules exclude from weight decay: names of weights, or patterns of names."""
    return {
        f"{prefix}.{name}".lstrip(".")
        for prefix, module in model.named_modules()
        if callable(names := getattr(module, "no_weight_decay", None))
        for name in names()
    }


@functools.cache
def _without_compiler(kind: Any) -> Any:
    """The optimizer class without torch's method wrappers, which import the compiler: 2 s of CPU."""
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in WRAPPED}
    return type(kind.__name__, (kind,), {**methods, "step": torch.no_grad()(methods["step"])})


class Schedule:
    """Sets the learning rate before every step: a linear warm-up, then the configured schedule.

    Each group of the optimizer gets the rate times its `lr_scale`, so that their ratios stay: a plateau lowers all of
    them when it lowers the first, and `min_lr` is the least rate of scale 1.

    Args:
        config: Which schedule.
        optimizer: Its rate is set; the one it has now is the base that warm-up, cosine and one cycle are shares of.
        epochs: Of the complete training.
        metric: Observed by a plateau.
        steps: Of an epoch; one cycle ends with the very last one.
    """

    def __init__(
        self,
        config: SchedulerConfig,
        optimizer: torch.optim.Optimizer,
        *,
        epochs: int,
        metric: MetricConfig,
        steps: int = 1,
    ) -> None:
        self.config, self.optimizer, self.epochs, self.steps = config, optimizer, epochs, steps
        self.scales = [float(group.get("lr_scale", 1.0)) for group in optimizer.param_groups]
        self.base = float(optimizer.param_groups[0]["lr"])
        self._set_rates(self.base)
        self.plateau = (
            ReduceLROnPlateau(
                optimizer,
                mode="max" if metric.goal == "maximize" else "min",
                factor=config.factor,
                patience=config.patience,
                min_lr=config.min_lr,
            )
            if isinstance(config, PlateauConfig)
            else None
        )

    @property
    def lr(self) -> float:
        """The current learning rate of scale 1."""
        return float(self.optimizer.param_groups[0]["lr"]) / self.scales[0]

    def before_step(self, epoch: int, progress: float) -> None:
        """Set the rate for a step of `epoch` (from 1) that starts at `progress` in [0, 1) of it."""
        self._set_rates(self.at(epoch, progress))

    def _set_rates(self, lr: float) -> None:
        for group, scale in zip(self.optimizer.param_groups, self.scales, strict=True):
            group["lr"] = lr * scale

    def at(self, epoch: int, progress: float) -> float:
        """The rate of such a step; of a plateau, which depends on the metric, the current one."""
        time, config = epoch - 1 + progress, self.config  # time in epochs
        if time < config.warmup:
            return self.base * (time + 1e-3) / config.warmup
        if isinstance(config, CosineConfig):
            share = (time - config.warmup) / max(1, self.epochs - config.warmup)
            return _cosine(self.base, config.min_lr, share)
        if isinstance(config, OneCycleConfig):
            last = max(1, self.epochs * self.steps - 1)  # steps counted from 0
            step, top = round(time * self.steps), config.rise * (last + 1) - 1  # as in torch's OneCycleLR
            if step <= top:
                return _cosine(self.base * config.start, self.base, step / top if top > 0 else 1.0)
            return _cosine(self.base, self.base * config.end, min(1.0, (step - top) / (last - top)))
        return self.base if config.warmup and time == config.warmup else self.lr

    def after_epoch(self, epoch: int, value: float) -> None:
        """Give a plateau the metric of an epoch; warm-up epochs do not count."""
        if self.plateau and epoch > self.config.warmup:
            self.plateau.step(value)

    def state(self) -> dict[str, object]:
        return dict(self.plateau.state_dict()) if self.plateau else {}

    def load_state(self, state: dict[str, object]) -> None:
        if self.plateau:
            self.plateau.load_state_dict(state)


def _cosine(begin: float, end: float, share: float) -> float:
    """Half a cosine from `begin` to `end`; `share` in [0, 1] is the progress."""
    return end + (begin - end) * (1 + math.cos(math.pi * share)) / 2
