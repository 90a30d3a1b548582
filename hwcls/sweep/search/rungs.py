"""The first and the last rung of early stopping; needs no Ray."""

from __future__ import annotations

from collections.abc import Iterable

from hwcls.config.optim import PlateauConfig
from hwcls.config.sweep import EarlyStopping
from hwcls.config.trial import TrialConfig


def rung_limits(early: EarlyStopping, trials: Iterable[TrialConfig]) -> tuple[int, int]:
    """(first rung, last epoch): the share of the epochs that the rule states, but after a warm-up that ends early.

    It may come before a plateau's first step: recorded curves rank as well by then (benchmarks/replay.py).
    """
    trials = list(trials)
    epochs = max(trial.epochs for trial in trials)
    if early.min_iter is not None:
        return min(early.min_iter, epochs), epochs
    grace = early.first_rung(epochs)
    warm = max(trial.scheduler.warmup for trial in trials)
    return max(grace, warm if warm <= epochs // 2 else 0), epochs


def plateau_epoch(trial: TrialConfig) -> int:
    """The first epoch before which a plateau can have lowered the learning rate; 0 where there is none."""
    schedule = trial.scheduler
    return schedule.warmup + schedule.patience + 2 if isinstance(schedule, PlateauConfig) else 0
