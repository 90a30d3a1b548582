"""Charts of the search: importance of settings, Pareto fronts, epochs spent by rung."""

from __future__ import annotations

from collections import Counter

from hwcls.format import format_count
from hwcls.report.html.charts.figure import (
    OUTSIDE,
    Figure,
    assign_colours,
    escape_text,
    limit_axis,
    name_trial,
    round_value,
    titled_axis,
)
from hwcls.report.html.sample import sample_dots
from hwcls.results.load import SweepResults, is_finite
from hwcls.results.settings.importance import Importance, describe_importances, setting_importances
from hwcls.results.settings.marginal_effects import trials_with_value

MAX_BARS = 12  # of epochs at which trials ended
COSTS = {  # recorded cost: title, axis
    "parameters": ("Value by model size", "parameters"),
    "inference_ms": ("Value by inference time", "ms per image, in batches"),
    "seconds": ("Value by training time", "seconds of training"),
}


def importance(sweep: SweepResults) -> Figure | None:
    """The share that each setting explains, for the sweep and each alternative; None with too few trials.

    Bars that chance could reach are pale; a mark shows how far it reaches.
    """
    found = setting_importances(sweep)
    if not found:
        return None
    palette, data = assign_colours(sweep), []
    totals: Counter[str] = Counter()
    for rows in found.values():
        totals.update({one.name: max(0.0, one.share) for one in rows})
    order = [name for name, _ in totals.most_common()][::-1]
    for place, (label, rows) in enumerate(found.items()):
        by_name = {one.name: one for one in rows}
        own = [by_name.get(name) for name in order]
        bar = {"type": "bar", "orientation": "h", "name": "all trials" if label is None else escape_text(label)}
        colour = palette[label] if label is not None or None in palette else "#a9b4c2"
        shares = [round_value(max(0.0, one.share)) if one else None for one in own]
        values = {"x": shares, "y": [escape_text(name) for name in order], "offsetgroup": str(place)}
        marker = {"color": colour, "opacity": [1.0 if one and one.matters else 0.3 for one in own]}
        words = ["matters" if one and one.matters else "cannot tell" for one in own]
        hover = "%{y}: %{x:.2f}, %{text}; chance reaches %{customdata:.2f}<extra></extra>"
        bands = [round_value(max(0.0, one.band)) if one else None for one in own]
        shown = {"text": words, "textposition": "none", "customdata": bands, "hovertemplate": hover}
        error = {"type": "data", "symmetric": False, "array": [_beyond(one) for one in own], "thickness": 1}
        error |= {"arrayminus": [_short_of(one) for one in own], "color": "#777777", "width": 5}
        data.append({**bar, **values, "marker": marker, **shown, "error_x": error})
    axes = {"xaxis": titled_axis("share of the differences between trials"), "yaxis": {"type": "category"}}
    layout = {**axes, "barmode": "group", "showlegend": len(data) > 1}
    return {"data": data, "layout": layout, "description": " ".join(describe_importances(sweep))}


def _beyond(one: Importance | None) -> float | None:
    """How far chance reaches beyond a bar."""
    return round_value(max(0.0, one.band - max(0.0, one.share))) if one else None


def _short_of(one: Importance | None) -> float | None:
    """How far a bar reaches beyond chance."""
    return round_value(max(0.0, one.share - max(0.0, one.band))) if one else None


def pareto(sweep: SweepResults, cost: str) -> Figure | None:
    """The metric by the cost of a trial, and the Pareto front; None if all trials cost the same."""
    found = [
        (trial, trial.seconds if cost == "seconds" else trial.cost.get(cost)) for trial in trials_with_value(sweep)
    ]
    points = [(trial, value) for trial, value in found if value is not None and is_finite(value) and value > 0]
    if len({value for _, value in points}) < 2:
        return None
    front = front_line([(value, sweep.sign * float(trial.value or 0.0)) for trial, value in points])
    on_front = set(front)
    ends = [t.number for t, value in points if (value, sweep.sign * float(t.value or 0.0)) in on_front]
    drawn, data = sample_dots(sweep, ends), []
    for label, colour in assign_colours(sweep).items():
        own = [(trial, value) for trial, value in points if trial.label == label and trial.number in drawn]
        if own:
            dots = {"x": [round_value(value) for _, value in own], "y": [round_value(trial.value) for trial, _ in own]}
            words = {"text": [name_trial(sweep, trial) for trial, _ in own], "name": escape_text(label or "trials")}
            marker = {"color": colour, "size": 8, "opacity": 0.75}
            hover = f"%{{text}}<br>{COSTS[cost][1]} %{{x}}<br>{escape_text(sweep.metric)} %{{y}}<extra></extra>"
            data.append(
                {"type": "scatter", "mode": "markers", **dots, **words, "marker": marker, "hovertemplate": hover}
            )
    x, y = [round_value(value) for value, _ in front], [round_value(sweep.sign * value) for _, value in front]
    line = {"color": "#888888", "width": 1.5, "shape": "hv"}
    data.append({"type": "scatter", "mode": "lines", "name": "Pareto front", "x": x, "y": y, "line": line})
    data[-1]["hoverinfo"] = "skip"
    limits = limit_axis(
        [float(trial.value or 0.0) for trial, _ in points], sweep.sign, [sweep.sign * gain for _, gain in front]
    )
    caption = "The Pareto front is of trials that no other one beats in value at the same cost or less."
    return {
        "data": data,
        "caption": f"{caption} {OUTSIDE}" if limits else caption,
        "layout": {"xaxis": titled_axis(COSTS[cost][1], type="log"), "yaxis": titled_axis(sweep.metric, **limits)},
    }


def epochs_spent(sweep: SweepResults) -> Figure | None:
    """The epochs spent by each alternative, by the last epoch of its trials: one bar per rung."""
    ended = [trial for trial in sweep.trials if trial.records and trial.ended]
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
        words = [format_count(trials[bar], "trial") for bar in bars]
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
    caption = "A rung is an epoch at which early stopping compares the trials and ends the worst of them."
    return {"data": data, "layout": layout, "caption": caption if sweep.stopping else ""}


def front_line(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The Pareto front of (cost, gain) points, by cost."""
    front: list[tuple[float, float]] = []
    for cost, gain in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or gain > front[-1][1]:
            front.append((cost, gain))
    return front
