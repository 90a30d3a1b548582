"""What is recorded of an epoch and of a trial's end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hwcls.config.optim import MetricConfig

STATUSES = ("complete", "stopped", "failed", "stopped_by_user")


@dataclass(frozen=True)
class EpochRecord:
    """The outcome of one epoch; `metrics` maps train/loss, val/accuracy and so on to numbers."""

    epoch: int  # from 1
    metrics: Mapping[str, float]
    lr: float  # at the epoch's end, before the plateau scheduler acts
    seconds: float  # training and evaluation
    images_per_second: float  # training alone, over all ranks

    def to_dict(self) -> dict[str, Any]:
        """A line of metrics.jsonl; NaN and infinity become null, as JSON does not have them."""
        line = {"epoch": self.epoch, **self.metrics, "lr": self.lr}
        line |= {"seconds": round(self.seconds, 4), "images_per_second": round(self.images_per_second, 1)}
        return {key: value if math.isfinite(value) else None for key, value in line.items()}


@dataclass(frozen=True)
class Result:
    """How a trial ended: result.json."""

    status: str  # one of STATUSES
    best: dict[str, Any] | None  # {"epoch": ..., "val/accuracy": ...}; None when no epoch ended
    label: str | None  # of the alternative that `compare` names
    parameters: dict[str, Any]  # drawn by the search, by flat name
    seconds: float
    micro_batch: int | None = None
    error: str | None = None  # one line; error.txt has the full text
    extra: dict[str, Any] = field(default_factory=dict)  # further keys, written on the same level

    def to_dict(self) -> dict[str, Any]:
        """The object in result.json."""
        own = {key: getattr(self, key) for key in self.__dataclass_fields__ if key != "extra"}
        return own | self.extra

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Result:
        """Read `to_dict`'s output; unknown keys are kept in `extra`."""
        own = {key: value[key] for key in cls.__dataclass_fields__ if key in value and key != "extra"}
        return cls(**own, extra={key: item for key, item in value.items() if key not in own})


def best_of(lines: Iterable[Mapping[str, Any]], metric: MetricConfig) -> dict[str, Any] | None:
    """The first epoch with the best value of the metric: {"epoch": ..., metric: ...}."""
    best: dict[str, Any] | None = None
    for line in lines:
        value = line.get(metric.name)
        if value is not None and "epoch" in line and (best is None or metric.better(value, best[metric.name])):
            best = {"epoch": line["epoch"], metric.name: value}
    return best
