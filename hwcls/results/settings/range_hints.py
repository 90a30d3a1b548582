"""Hints for the next sweep: ranges at whose end the best trials are."""

from __future__ import annotations

import math
from typing import Any

import yaml
from pydantic import ValidationError

from hwcls.config.space import Range
from hwcls.config.sweep_file import load_sweep
from hwcls.config.trial import TrialConfig
from hwcls.errors import UserError
from hwcls.format import format_number
from hwcls.reading import read_or_none, read_yaml
from hwcls.results.load import SweepResults, TrialResult, is_finite

TOP = 3  # best trials of an alternative that must agree
MIN_TRIALS = 9  # of an alternative that gets a hint
NEAR = 0.1  # share of a range that counts as its end


def suggest_ranges(found: SweepResults) -> list[str]:
    """One sentence per range to extend, with the YAML to paste: the best trials of an alternative share its end."""
    try:
        space = load_sweep(found.folder / "sweep.yaml").space
    except UserError:
        return []  # written by another version or edited
    flat = {p.name: space.flat_names[p.path] for p, _ in space.parameters()}
    ranges = [
        (p, {flat[choice]: label for choice, label in under.items()})
        for p, under in space.parameters()
        if isinstance(p, Range) and p.low < p.high and p.step is None
    ]
    by_parameter: dict[str, str] = {}
    for label in dict.fromkeys(trial.label for trial in found.trials):
        trials = [t for t in found.ranked() if t.label == label and t.value is not None and not t.failed]
        if len(trials) < MIN_TRIALS:
            continue
        for parameter, under in ranges:
            hint = _hint(parameter, flat[parameter.name], under, trials[:TOP], label)
            if hint is not None:
                by_parameter.setdefault(parameter.name, hint)
    return list(by_parameter.values())


def _hint(parameter: Range, name: str, under: dict[str, str], best: list[TrialResult], label: str | None) -> str | None:
    """The hint, if all of `best` were drawn from this range: another branch may have one of the same name."""
    if any(trial.parameters.get(choice) != value for trial in best for choice, value in under.items()):
        return None
    values = [trial.parameters.get(name) for trial in best]
    places = [
        _place(parameter, float(v)) for v in values if is_finite(v) and parameter.low <= float(v) <= parameter.high
    ]
    if len(places) < TOP:
        return None
    for upper in (False, True):
        if all((1 - place if upper else place) <= NEAR for place in places):
            wider = _wider(parameter, upper)
            end_now, end_then = (parameter.high, wider["max"]) if upper else (parameter.low, wider["min"])
            if end_then == end_now or not _possible(best[0], parameter, end_then):
                return None
            who = f"the best {TOP} trials" + (f" of {label}" if label else "")
            end = f"the {'upper' if upper else 'lower'} end of its range"
            end += f" ({format_number(parameter.low)} to {format_number(parameter.high)})"
            pasted = yaml.safe_dump(wider, default_flow_style=True, sort_keys=False).strip()
            remedy = f"write `{parameter.key[-1]}: {pasted}` instead{_as_option(parameter, pasted)}"
            return f"{who} have {name} at {end}; better values may be outside it. To search there, {remedy}"
    return None


def _as_option(parameter: Range, value: str) -> str:
    """The option that sets a parameter; empty where a label has a dot, which --set reads as two keys."""
    if any("." in part for part in parameter.key):
        return ""
    return f", or pass --set '{'.'.join(parameter.key)}={value}'"


def _place(parameter: Range, value: float) -> float:
    """The relative position of a value in its range, from 0 to 1, on the scale of the search."""
    if parameter.log:
        return math.log(value / parameter.low) / math.log(parameter.high / parameter.low)
    return (value - parameter.low) / (parameter.high - parameter.low)


def _wider(parameter: Range, upper: bool) -> dict[str, Any]:
    """The range extended at one end by half its length, as written in a sweep file; integers on a log scale to 1."""
    if parameter.log:
        factor = math.sqrt(parameter.high / parameter.low)
        end = parameter.high * factor if upper else parameter.low / factor
    else:
        length = parameter.high - parameter.low
        end = parameter.high + length / 2 if upper else parameter.low - length / 2
    rounded = next(
        r for digits in range(1, 16) if (r := float(f"{end:.{digits}g}")) < parameter.low or r > parameter.high
    )
    ends = [parameter.low, rounded] if upper else [rounded, parameter.high]
    low, high = (int(value) if parameter.integer else value for value in ends)
    low = max(low, 1) if parameter.integer and parameter.log else low
    return {"min": low, "max": high, **({"log": True} if parameter.log else {})}


def _possible(trial: TrialResult, parameter: Range, end: float) -> bool:
    """Whether the trial's configuration is valid with the parameter at the new end."""
    values = trial_values = read_or_none(read_yaml, trial.folder / "config.yaml") or {}
    for part in parameter.path[:-1]:
        values = values[part] if isinstance(values.get(part), dict) else {}
    if parameter.path[-1] not in values:
        return False  # it was damaged
    if end == values[parameter.path[-1]]:
        return False
    values[parameter.path[-1]] = end
    try:
        TrialConfig.from_recorded(trial_values)
    except ValidationError:
        return False
    return True
