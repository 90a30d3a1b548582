"""Every trial as a line through its settings to its value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hwcls.escape import printable
from hwcls.format import format_count, format_number
from hwcls.report.html.charts.figure import Figure, escape_text, round_value
from hwcls.report.html.sample import MAX_DOTS, sample
from hwcls.results.load import SweepResults, TrialResult, is_finite
from hwcls.results.settings.importance import setting_importances
from hwcls.results.settings.marginal_effects import log_settings, trials_with_value, varied_settings

# shares of the ranked trials, the best first: (up to, name, colour, width)
BANDS = [(0.1, "best 10 %", "#d9480f", 2.5), (0.25, "to 25 %", "#e8a33d", 1.8)]
BANDS += [(0.5, "to 50 %", "#7f9cc0", 1.2), (1.0, "others", "#a9b4c2", 0.8)]
MAX_AXES = 12
SPACE = 72  # pixels of an axis and its labels: a narrow screen scrolls
LABEL = 10  # characters of a label
QUARTERS = 4  # of an axis of numbers, to choose from
EDGE = 1e-4  # of an axis: heights are rounded


def parallel_coordinates(sweep: SweepResults) -> Figure | None:
    """Every trial as a line through its settings to its value; None without two trials that differ."""
    trials = trials_with_value(sweep)
    names = varied_settings(trials)
    if len(trials) < 2 or not names:
        return None
    if len(names) > MAX_AXES:
        weights = {one.name: one.share for found in setting_importances(sweep).values() for one in found}
        names = sorted(sorted(names, key=lambda name: -weights.get(name, 0.0))[:MAX_AXES], key=names.index)
    logs = log_settings(sweep)
    axes = [_Axis([trial.parameters.get(name) for trial in trials], name in logs) for name in names]
    axes.append(_Axis([trial.value for trial in trials], False))
    drawn, data, start = sample(trials, MAX_DOTS), list[dict[str, Any]](), 0
    for share, title, colour, width in BANDS:
        end = max(start, round(share * len(drawn))) if share < 1 else len(drawn)
        if end > start:
            line = {"color": colour, "width": width}
            data.append({**_trial_lines(drawn, names, axes, range(start, end)), "name": title, "line": line})
        start = end
    data.reverse()  # the best on top
    marks = [(place, height, word) for place, axis in enumerate(axes) for height, word in axis.tick_labels()]
    x, y, words = zip(*marks, strict=True)
    data.append(
        {
            "type": "scatter",
            "mode": "text",
            "x": x,
            "y": y,
            "text": words,
            "textposition": "middle right",
            "textfont": {"size": 11},
            "hoverinfo": "skip",
            "showlegend": False,
        }
    )
    ticks = {"tickvals": list(range(len(axes))), "ticktext": [escape_text(name) for name in (*names, sweep.metric)]}
    layout = {
        "xaxis": {**ticks, "range": [-0.7, len(axes) - 0.35], "showgrid": True, "tickangle": -25},
        "yaxis": {"visible": False, "range": [-0.2, 1.08]},
        "legend": {"traceorder": "reversed"},
    }
    of = ", ".join([*names, sweep.metric])
    some = f", {len(drawn):,} of them drawn" if len(drawn) < len(trials) else ""
    description = f"{format_count(len(trials), 'trial')} by {of}{some}; leaderboard.csv lists all of them"
    ranges = [[name, axis.ranges()] for name, axis in zip((*names, sweep.metric), axes, strict=True)]
    figure = {"data": data, "layout": layout, "description": description, "width": SPACE * len(axes)}
    return {**figure, "ranges": ranges}


class _Axis:
    """One axis of the parallel coordinates: values from 0 to 1, missing ones below."""

    MISSING = -0.12

    def __init__(self, values: Sequence[Any], log: bool) -> None:
        known = [value for value in values if value is not None]
        self.numeric = all(is_finite(value) for value in known) and len(set(known)) > 2
        self.missing = len(known) < len(values)
        self.log = self.numeric and log and min(known) > 0
        if self.numeric:
            self.low, self.high = min(known), max(known)
        else:
            self.words = {str(value): value for value in sorted(known, key=lambda value: _by_size(str(value)))}

    def height(self, value: Any) -> float:
        if value is None:
            return self.MISSING
        if not self.numeric:
            return (list(self.words).index(str(value)) + 0.5) / len(self.words)
        if self.high == self.low:
            return 0.5
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return float((value - self.low) / (self.high - self.low))

    def tick_labels(self) -> list[tuple[float, str]]:
        """Heights and their labels."""
        found = [(self.MISSING, "none")] if self.missing else []
        if self.numeric:
            return [*found, (0.0, _label(self.low)), (1.0, _label(self.high))]
        if len(self.words) > 24:
            return found
        return [*found, *((self.height(value), _label(value)) for value in self.words.values())]

    def ranges(self) -> list[tuple[str, float, float]]:
        """What trials can be kept by, each with its lowest and highest place: a value, or a quarter of the numbers."""
        found = [("none", self.MISSING - EDGE, self.MISSING + EDGE)] if self.missing else []
        if not self.numeric:
            places = [(word, self.height(value)) for word, value in self.words.items()]
            return [*found, *((printable(word), place - EDGE, place + EDGE) for word, place in places)]
        ends = [self._value(place / QUARTERS) for place in range(QUARTERS + 1)]
        texts = [format_number(float(f"{end:.4g}")) for end in ends]
        for place in range(QUARTERS):
            low, high = place / QUARTERS, (place + 1) / QUARTERS
            found.append((f"{texts[place]} to {texts[place + 1]}", low - EDGE, high + EDGE))
        return found

    def _value(self, height: float) -> float:
        """The number at a height; the inverse of `height`."""
        if self.log:
            return float(self.low * (self.high / self.low) ** height)
        return float(self.low + height * (self.high - self.low))


def _label(value: Any) -> str:
    """A value beside its axis, cut where it would reach the next one."""
    text = format_number(value)
    return escape_text(text if len(text) <= LABEL else f"{text[: LABEL - 1]}…")


def _by_size(word: str) -> tuple[bool, float, str]:
    try:
        return False, float(word), word
    except ValueError:
        return True, 0.0, word


def _trial_lines(trials: list[TrialResult], names: list[str], axes: list[_Axis], places: range) -> dict[str, Any]:
    """Some trials as one trace with gaps between them."""
    x: list[int | None] = []
    y: list[float | None] = []
    words: list[str | None] = []
    for trial in (trials[place] for place in places):
        values = [*(trial.parameters.get(name) for name in names), trial.value]
        x += [*range(len(axes)), None]
        y += [*(round_value(axis.height(value)) for axis, value in zip(axes, values, strict=True)), None]
        words += [
            *(f"trial {trial.number}: {escape_text(format_number(v) if isinstance(v, float) else v)}" for v in values),
            None,
        ]
    strands = {"type": "scatter", "mode": "lines", "x": x[:-1], "y": y[:-1], "text": words[:-1]}
    return {**strands, "hovertemplate": "%{text}<extra></extra>"}
