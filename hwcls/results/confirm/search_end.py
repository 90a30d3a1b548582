"""Whether the search of a sweep has all of its trials: the confirm runs follow then."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from hwcls.config.sweep import parse_duration
from hwcls.config.sweep_file import Sweep, parse_sweep
from hwcls.config.yaml_source import YamlSource
from hwcls.results.load import SweepResults


def starts_no_more(trials: int, total: int | None, spent: float, budget: float | None) -> bool:
    """Whether a search starts no more trials: it has as many as there are in all, or its time budget is used up.

    Args:
        trials: How many it has tried, with those that cannot be trained, without those that are left out.
        total: How many there are in all; None: no limit.
        spent: Seconds of the budget, as recorded.
        budget: Seconds; None: no limit.
    """
    return (total is not None and trials >= total) or (budget is not None and spent >= budget)


def count_tried(sweep: Sweep, parameters: Iterable[Mapping[str, Any]]) -> int:
    """How many of the trials that drew these parameters, by flat name, count for the total.

    A point of a grid counts once: it is there twice where it was excluded, tried again, and included again.
    """
    drawn = list(parameters)
    if sweep.grid is None:
        return len(drawn)
    points = [sweep.space.flat_settings(point) for point in sweep.grid]
    return _distinct(drawn) + len(points) - _distinct(points)  # two parameters may have the same flat name


def _distinct(found: Iterable[Mapping[str, Any]]) -> int:
    return len({json.dumps(dict(one), sort_keys=True, default=str) for one in found})


def has_all_trials(sweep: SweepResults) -> bool:
    """Whether the search has begun every trial that it has room for."""
    total, budget = read_limits(sweep)
    parsed, drawn = _parse(sweep), [trial.parameters for trial in sweep.trials]
    tried = untrainable(sweep) + (count_tried(parsed, drawn) if parsed else len(drawn))
    spent = (sweep.environment or {}).get("budget_spent") or 0.0
    return bool(sweep.trials) and starts_no_more(tried, total, spent, budget)


def untrainable(sweep: SweepResults) -> int:
    """The trials of the search that have no folder, as their settings are a combination that cannot be trained."""
    return int((sweep.environment or {}).get("untrainable") or 0)


def read_limits(sweep: SweepResults) -> tuple[int | None, float | None]:
    """Trials in all, those of a grid included, and seconds of the budget, by sweep.yaml; None: no such limit."""
    if (parsed := _parse(sweep)) is not None:
        return parsed.total, parsed.config.budget
    cap = sweep.settings.get("run_cap")
    return cap if isinstance(cap, int) else None, _read_seconds(sweep.settings.get("budget"))


@lru_cache(maxsize=1)
def _parse(sweep: SweepResults) -> Sweep | None:
    """sweep.yaml; None where it is of another version, or damaged."""
    values = {key: value for key, value in sweep.settings.items() if not key.startswith("x-")}
    try:
        return parse_sweep(YamlSource("sweep.yaml", values))
    except Exception:
        return None


def _read_seconds(value: object) -> float | None:
    try:
        return float(str(parse_duration(value)))
    except ValueError:
        return None
