"""Where the rungs of early stopping lie; needs no Ray."""

from __future__ import annotations

from collections.abc import Iterable

from hwcls.config.optim import PlateauConfig
from hwcls.config.sweep import EarlyStopConfig
from hwcls.config.trial import TrialConfig


def rungs(early: EarlyStopConfig, trials: Iterable[TrialConfig]) -> tuple[int, int]:
    """(first rung, last epoch): about a ninth of the epochs, but after warm-up + patience + 2 where that is early."""
    trials = list(trials)
    epochs = max(trial.epochs for trial in trials)
    if early.min_iter is not None:
        return min(early.min_iter, epochs), epochs
    grace = -(-epochs // 9)
    settled = max(plateau_fires(trial) for trial in trials)
    return max(1, grace, settled if settled <= epochs // 2 else 0), epochs


def plateau_fires(trial: TrialConfig) -> int:
    """The epochs before which a trial says little: warm-up, and a plateau's patience + 2 where there is one."""
    schedule = trial.scheduler
    return schedule.warmup + schedule.patience + 2 if isinstance(schedule, PlateauConfig) else schedule.warmup
