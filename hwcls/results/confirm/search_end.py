"""Whether the search of a sweep has all of its trials: the confirm runs follow then."""

from __future__ import annotations

from hwcls.config.sweep import parse_duration
from hwcls.config.sweep_file import parse_sweep
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


def has_all_trials(sweep: SweepResults) -> bool:
    """Whether the search has begun every trial that it has room for."""
    total, budget = read_limits(sweep)
    spent = (sweep.environment or {}).get("budget_spent") or 0.0
    return bool(sweep.trials) and starts_no_more(len(sweep.trials) + untrainable(sweep), total, spent, budget)


def untrainable(sweep: SweepResults) -> int:
    """The trials of the search that have no folder, as their settings are a combination that cannot be trained."""
    return int((sweep.environment or {}).get("untrainable") or 0)


def read_limits(sweep: SweepResults) -> tuple[int | None, float | None]:
    """Trials in all, those of a grid included, and seconds of the budget, by sweep.yaml; None: no such limit."""
    values = {key: value for key, value in sweep.settings.items() if not key.startswith("x-")}
    try:
        parsed = parse_sweep(YamlSource("sweep.yaml", values))
        return parsed.total, parsed.config.budget
    except Exception:  # of another version, or damaged
        cap = values.get("run_cap")
        return cap if isinstance(cap, int) else None, _read_seconds(values.get("budget"))


def _read_seconds(value: object) -> float | None:
    try:
        return float(str(parse_duration(value)))
    except ValueError:
        return None
