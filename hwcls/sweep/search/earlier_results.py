"""The results that `--from` names: checked before Ray, torch or Optuna are imported."""

from __future__ import annotations

from pathlib import Path

from hwcls.config.optim import MetricConfig
from hwcls.errors import UserError


def check_earlier_results(path: Path, metric: MetricConfig) -> None:
    """Raise UserError where `path` holds no sweep, or one with another metric."""
    from hwcls.results.load import load_results

    earlier = load_results(path)
    if (earlier.metric, earlier.goal) != (metric.name, metric.goal):
        what = f"was ranked by {earlier.metric}, this sweep is by {metric.name}"
        raise UserError(what, where=f"--from {path}", remedy="use the same metric in both")
