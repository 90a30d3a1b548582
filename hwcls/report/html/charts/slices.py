"""Slices: each setting against the metric, a dot for every trial in the colour of its alternative."""

from __future__ import annotations

from typing import Any

from hwcls.report.html.charts.figure import (
    NUMBERS,
    Figure,
    assign_colours,
    escape_text,
    limit_axis,
    name_trial,
    round_value,
    titled_axis,
)
from hwcls.report.html.sample import sample_dots
from hwcls.results.load import SweepResults, TrialResult, is_finite
from hwcls.results.settings.importance import setting_importances
from hwcls.results.settings.marginal_effects import log_settings, trials_with_value, varied_settings

MAX_SLICES = 12  # settings
HIGH = 240  # pixels


def slices(sweep: SweepResults) -> list[tuple[str, str, Figure | None]]:
    """Key, title and figure of the settings that differ, those first that explain most; none with a single trial."""
    trials = trials_with_value(sweep)
    if len(trials) < 2:
        return []
    drawn = sample_dots(sweep)
    shown = [trial for trial in trials if trial.number in drawn]
    share = {one.name: one.share for one in setting_importances(sweep).get(None, ())}
    varied = (name for name in varied_settings(trials) if name != sweep.compared)
    names = sorted(varied, key=lambda name: -share.get(name, 0.0))
    axis = titled_axis(sweep.metric, **limit_axis([float(trial.value or 0.0) for trial in trials], sweep.sign))
    return [(f"slice-{place}", name, _slice(sweep, shown, name, axis)) for place, name in enumerate(names[:MAX_SLICES])]


def _slice(sweep: SweepResults, trials: list[TrialResult], name: str, axis: dict[str, Any]) -> Figure:
    have = [trial for trial in trials if trial.parameters.get(name) is not None]
    numeric = all(is_finite(trial.parameters[name]) for trial in have)
    data = []
    for label, colour in assign_colours(sweep).items():
        own = [trial for trial in have if trial.label == label]
        if not own:
            continue
        values = [trial.parameters[name] for trial in own]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": escape_text(label or "trials"),
                "x": [round_value(value) if numeric else escape_text(value) for value in values],
                "y": [round_value(trial.value) for trial in own],
                "text": [name_trial(sweep, trial) for trial in own],
                "marker": {"color": colour, "size": 7, "opacity": 0.7},
                "hovertemplate": f"%{{text}}<br>%{{x}}<br>{escape_text(sweep.metric)} %{{y}}<extra></extra>",
            }
        )
    kind: dict[str, Any] = {} if numeric else {"type": "category"}
    if numeric and name in log_settings(sweep) and all(trial.parameters[name] > 0 for trial in have):
        kind = {"type": "log"}
    return {
        "data": data,
        "layout": {"xaxis": titled_axis(name, **NUMBERS, **kind), "yaxis": axis, "height": HIGH},
    }
