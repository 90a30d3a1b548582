"""Charts of the search: parallel coordinates, importance of settings, Pareto fronts, epochs spent by rung."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hwcls.report.html.charts.figure import Figure, assign_colours, escape_text, name_trial, round_value, titled_axis
from hwcls.results.importance import setting_importances
from hwcls.results.load import UNFINISHED, SweepResults, TrialResult, is_finite
from hwcls.results.marginal_effects import log_settings, trials_with_value, varied_settings

# shares of the ranked trials, the best first: (up to, name, colour, width)
BANDS = [(0.1, "best 10 %", "#d9480f", 2.5), (0.25, "to 25 %", "#e8a33d", 1.8)]
BANDS += [(0.5, "to 50 %", "#7f9cc0", 1.2), (1.0, "others", "#a9b4c2", 0.8)]
MAX_AXES = 12
MAX_BARS = 12  # of epochs at which trials ended
COSTS = {  # recorded cost: title, axis
    "parameters": ("Value by model size", "parameters"),
    "inference_ms": ("Value by inference time", "ms per image, in batches"),
    "seconds": ("Value by training time", "seconds of training"),
}


def parallel(sweep: SweepResults) -> Figure | None:
    """Every trial as a line through its settings to its value; None without two trials that differ."""
    trials = trials_with_value(sweep)
    names = varied_settings(trials)
    if len(trials) < 2 or not names:
        return None
    if len(names) > MAX_AXES:
        weights = {name: weight for found in setting_importances(sweep).values() for name, weight in found.items()}
        names = sorted(sorted(names, key=lambda name: -weights.get(name, 0.0))[:MAX_AXES], key=names.index)
    logs = log_settings(sweep)
    axes = [_Axis([trial.parameters.get(name) for trial in trials], name in logs) for name in names]
    axes.append(_Axis([trial.value for trial in trials], False))
    data, start = [], 0
    for share, title, colour, width in BANDS:
        end = max(start, round(share * len(trials))) if share < 1 else len(trials)
        if end > start:
            line = {"color": colour, "width": width}
            data.append({**_trial_lines(trials, names, axes, range(start, end)), "name": title, "line": line})
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
            "textfont": {"size": 10},
            "hoverinfo": "skip",
            "showlegend": False,
        }
    )
    ticks = {"tickvals": list(range(len(axes))), "ticktext": [escape_text(name) for name in (*names, sweep.metric)]}
    layout = {
        "xaxis": {**ticks, "range": [-0.7, len(axes) - 0.5], "showgrid": True, "tickangle": -25},
        "yaxis": {"visible": False, "range": [-0.2, 1.08]},
        "legend": {"traceorder": "reversed"},
    }
    description = f"{len(trials)} trials by {', '.join([*names, sweep.metric])}; the leaderboard lists all of them"
    return {"data": data, "layout": layout, "description": description}


def importance(sweep: SweepResults) -> Figure | None:
    """Importance of each setting, for the sweep and each alternative; None with too few trials."""
    found = setting_importances(sweep)
    if not found:
        return None
    palette, data = assign_colours(sweep), []
    totals: Counter[str] = Counter()
    for weights in found.values():
        totals.update(weights)
    order = [name for name, _ in totals.most_common()][::-1]
    for label, weights in found.items():
        bar = {"type": "bar", "orientation": "h", "name": "all trials" if label is None else escape_text(label)}
        colour = {"color": palette[label] if label is not None or None in palette else "#888888"}
        values = {"x": [round_value(weights.get(name)) for name in order], "y": [escape_text(name) for name in order]}
        data.append({**bar, **values, "marker": colour, "hovertemplate": "%{y}: %{x:.2f}<extra></extra>"})
    layout = {"xaxis": titled_axis("importance (sums to 1)"), "yaxis": {"type": "category"}}
    return {"data": data, "layout": {**layout, "barmode": "group", "showlegend": len(data) > 1}}


def pareto(sweep: SweepResults, cost: str) -> Figure | None:
    """The metric by the cost of a trial, and the Pareto front; None if all trials cost the same."""
    found = [
        (trial, trial.seconds if cost == "seconds" else trial.cost.get(cost)) for trial in trials_with_value(sweep)
    ]
    points = [(trial, value) for trial, value in found if value is not None and is_finite(value) and value > 0]
    if len({value for _, value in points}) < 2:
        return None
    data = []
    for label, colour in assign_colours(sweep).items():
        own = [(trial, value) for trial, value in points if trial.label == label]
        if own:
            dots = {"x": [round_value(value) for _, value in own], "y": [round_value(trial.value) for trial, _ in own]}
            words = {"text": [name_trial(sweep, trial) for trial, _ in own], "name": escape_text(label or "trials")}
            marker = {"color": colour, "size": 8, "opacity": 0.75}
            hover = f"%{{text}}<br>{COSTS[cost][1]} %{{x}}<br>{escape_text(sweep.metric)} %{{y}}<extra></extra>"
            data.append(
                {"type": "scatter", "mode": "markers", **dots, **words, "marker": marker, "hovertemplate": hover}
            )
    front = _front([(value, sweep.sign * float(trial.value or 0.0)) for trial, value in points])
    x, y = [round_value(value) for value, _ in front], [round_value(sweep.sign * value) for _, value in front]
    line = {"color": "#888888", "width": 1.5, "shape": "hv"}
    data.append({"type": "scatter", "mode": "lines", "name": "Pareto front", "x": x, "y": y, "line": line})
    data[-1]["hoverinfo"] = "skip"
    return {
        "data": data,
        "layout": {"xaxis": titled_axis(COSTS[cost][1], type="log"), "yaxis": titled_axis(sweep.metric)},
    }


def epochs_spent(sweep: SweepResults) -> Figure | None:
    """The epochs spent by each alternative, by the last epoch of its trials: one bar per rung."""
    ended = [trial for trial in sweep.trials if trial.records and trial.status != UNFINISHED]
    ends = sorted({len(trial.records) for trial in ended})
    if not ends:
        return None
    width = max(1, -(-ends[-1] // MAX_BARS)) if len(ends) > MAX_BARS else 0
    data = []
    for label, colour in assign_colours(sweep).items():
        epochs: Counter[int] = Counter()
        trials: Counter[int] = Counter()
        for trial in ended:
            if trial.label == label:
                last = len(trial.records)
                bar = -(-last // width) * width if width else last
                epochs[bar] += last
                trials[bar] += 1
        bars = sorted(epochs)
        words = [f"{trials[bar]} trials" for bar in bars]
        x = [f"{bar - width + 1} to {bar}" if width else str(bar) for bar in bars]
        hover = "%{text} ended at epoch %{x}: %{y} epochs<extra></extra>"
        bar_of = {"type": "bar", "name": escape_text(label or "epochs"), "x": x, "y": [epochs[bar] for bar in bars]}
        data.append(
            {**bar_of, "text": words, "textposition": "none", "marker": {"color": colour}, "hovertemplate": hover}
        )
    bars = sorted({-(-end // width) * width if width else end for end in ends})
    order = [f"{bar - width + 1} to {bar}" if width else str(bar) for bar in bars]
    axis = titled_axis("last epoch of a trial", type="category", categoryorder="array", categoryarray=order)
    layout = {"xaxis": axis, "yaxis": titled_axis("epochs spent"), "barmode": "stack", "showlegend": len(data) > 1}
    return {"data": data, "layout": layout}


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
            self.words = sorted({str(value) for value in known}, key=_by_size)

    def height(self, value: Any) -> float:
        if value is None:
            return self.MISSING
        if not self.numeric:
            return (self.words.index(str(value)) + 0.5) / len(self.words)
        if self.high == self.low:
            return 0.5
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return float((value - self.low) / (self.high - self.low))

    def tick_labels(self) -> list[tuple[float, str]]:
        """Heights and their labels."""
        found = [(self.MISSING, "none")] if self.missing else []
        if self.numeric:
            return [*found, (0.0, f"{self.low:.3g}"), (1.0, f"{self.high:.3g}")]
        if len(self.words) > 24:
            return found
        return [*found, *((self.height(word), escape_text(word)) for word in self.words)]


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
            *(f"trial {trial.number}: {escape_text(f'{v:.4g}' if isinstance(v, float) else v)}" for v in values),
            None,
        ]
    strands = {"type": "scatter", "mode": "lines", "x": x[:-1], "y": y[:-1], "text": words[:-1]}
    return {**strands, "hovertemplate": "%{text}<extra></extra>"}


def _front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The Pareto front of (cost, gain) points, by cost."""
    front: list[tuple[float, float]] = []
    for cost, gain in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or gain > front[-1][1]:
            front.append((cost, gain))
    return front
