"""The effect of each value of each setting: the best and the median of the trials with that value."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from statistics import median
from typing import Any

from hwcls.config.space import Range
from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError
from hwcls.format import format_number, format_significant
from hwcls.results.load import SweepResults, TrialResult, is_finite

MAX_VALUES = 12  # of a setting; more are grouped
PARTS = 3  # groups of a range


@dataclass(frozen=True)
class SettingEffect:
    """The trials with one value of a setting, or with values in one part of its range."""

    setting: str
    value: str
    trials: int
    best: float  # of the sweep's metric
    median: float


def trials_with_value(sweep: SweepResults, label: str | None = None) -> list[TrialResult]:
    """The trials with a value that did not fail, best first; of one alternative where `label` is given."""
    own = [trial for trial in sweep.ranked() if trial.value is not None and not trial.failed]
    return own if label is None else [trial for trial in own if trial.label == label]


def varied_settings(trials: list[TrialResult]) -> list[str]:
    """The settings with more than one value among `trials`; a missing value counts as one."""
    names = dict.fromkeys(name for trial in trials for name in trial.parameters)
    return [name for name in names if len({str(trial.parameters.get(name)) for trial in trials}) > 1]


@functools.lru_cache(maxsize=1)
def searched_ranges(sweep: SweepResults) -> dict[str, Range]:
    """The searched ranges by setting; empty if this version cannot read the file."""
    try:
        space = load_sweep(sweep.folder / "sweep.yaml").space
    except UserError:
        return {}  # written by another version, or edited
    return {space.flat_names[p.path]: p for p, _ in space.parameters() if isinstance(p, Range)}


def log_settings(sweep: SweepResults) -> set[str]:
    """The settings that are searched on a log_settings scale."""
    return {name for name, found in searched_ranges(sweep).items() if found.log}


def setting_effects(sweep: SweepResults) -> list[SettingEffect]:
    """Every varied setting with its values in order; continuous ones in PARTS of equally many trials."""
    trials = trials_with_value(sweep)
    found = []
    for name in varied_settings(trials):
        have = [trial for trial in trials if trial.parameters.get(name) is not None]
        free = name in searched_ranges(sweep) and not searched_ranges(sweep)[name].integer
        values = {str(trial.parameters[name]): trial.parameters[name] for trial in have}
        numeric = all(is_finite(value) for value in values.values())
        if numeric and (free or len(values) > MAX_VALUES):
            groups = _parts(have, name)
        elif len(values) > MAX_VALUES:
            continue
        else:
            order = sorted(values, key=lambda word: (not is_finite(values[word]), values[word] if numeric else 0, word))
            groups = [
                (format_number(values[word]), [t for t in have if str(t.parameters[name]) == word]) for word in order
            ]
        found += [_effect(sweep, name, value, group) for value, group in groups]
    return found


def _parts(trials: list[TrialResult], name: str) -> list[tuple[str, list[TrialResult]]]:
    """Trials grouped by the value of a setting: ("from to", trials)."""

    def value(trial: TrialResult) -> float:
        return float(trial.parameters[name])

    ordered = sorted(trials, key=value)
    ends = [round(part * len(ordered) / PARTS) for part in range(PARTS + 1)]
    groups = [ordered[start:end] for start, end in itertools.pairwise(ends) if end > start]
    return [(" to ".join(format_significant(value(group[end]), 3) for end in (0, -1)), group) for group in groups]


def _effect(sweep: SweepResults, name: str, value: str, trials: list[TrialResult]) -> SettingEffect:
    values: list[Any] = [trial.value for trial in trials]
    best = (max if sweep.sign > 0 else min)(values)
    return SettingEffect(name, value, len(trials), best, median(values))
