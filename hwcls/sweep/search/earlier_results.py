"""The results that `--from` names: checked before Ray, torch or Optuna are imported."""

from __future__ import annotations

from pathlib import Path

from hwcls.config.optim import MetricConfig
from hwcls.errors import UserError
from hwcls.format import join_words


def check_earlier_results(path: Path, metric: MetricConfig) -> None:
    """Raise UserError where `path` holds no sweep, or one with another metric."""
    from hwcls.results.load import load_results

    earlier = load_results(path)
    if (earlier.metric, earlier.goal, earlier.costs) != (metric.name, metric.goal, metric.costs):
        before, now = (
            join_words([name, *map(str, costs)])
            for name, costs in ((earlier.metric, earlier.costs), (metric.name, metric.costs))
        )
        what = f"was ranked by {before}, this sweep is by {now}"
        raise UserError(what, where=f"--from {path}", remedy="use the same metric in both")
