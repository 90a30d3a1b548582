"""The Pareto front of a sweep with several metrics: one chart for each further metric."""

from __future__ import annotations

from typing import Any

from hwcls.config.optim import CostConfig
from hwcls.format import format_count
from hwcls.report.html.charts.figure import Figure, assign_colours, escape_text, name_trial, round_value, titled_axis
from hwcls.report.html.charts.search import front_line
from hwcls.report.html.sample import sample_dots
from hwcls.results.front.describe import FrontRow, build_front
from hwcls.results.front.find import trial_values
from hwcls.results.load import SweepResults


def fronts(sweep: SweepResults) -> list[tuple[str, str, Figure | None]]:
    """Key, title and figure of each further metric; nothing with one metric."""
    name = sweep.metric.partition("/")[2].replace("_", " ")
    return [
        (f"front-{place}", f"{name[:1].upper()}{name[1:]} and {cost.name.partition('/')[2].replace('_', ' ')}", figure)
        for place, cost in enumerate(sweep.costs)
        if (figure := _front(sweep, place, cost)) is not None
    ]


def _front(sweep: SweepResults, place: int, cost: CostConfig) -> Figure | None:
    """All trials faintly, those on the front in full, and the confirmed ones with their intervals on test."""
    rows = build_front(sweep)
    front = {row.trial.number for row in rows if row.on_front}
    if not front:
        return None
    drawn, data = sample_dots(sweep, sorted(front)), list[dict[str, Any]]()
    for label, colour in assign_colours(sweep).items():
        own = [trial for trial in sweep.ranked() if trial.label == label and trial.number in drawn]
        known = [(trial, values) for trial in own if (values := trial_values(sweep, trial)) is not None]
        if not known:
            continue
        on = [trial.number in front for trial, _ in known]
        hover = f"%{{text}}<br>{cost.axis} %{{x}}<br>{escape_text(sweep.metric)} %{{y}}<extra></extra>"
        marker = {
            "color": colour,
            "size": [11 if one else 7 for one in on],
            "opacity": [1.0 if one else 0.3 for one in on],
        }
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": escape_text(label or "trials"),
                "x": [round_value(values[1 + place]) for _, values in known],
                "y": [round_value(values[0]) for _, values in known],
                "text": [name_trial(sweep, trial) for trial, _ in known],
                "marker": marker,
                "hovertemplate": hover,
            }
        )
    data.append(_line(sweep, place, cost, [row for row in rows if row.on_front]))
    if confirmed := [row for row in rows if row.mean is not None]:
        data.append(_confirmed(sweep, place, cost, confirmed))
    positive = all((x or 0) > 0 for trace in data for x in trace["x"])
    axis = titled_axis(cost.axis, **({"type": "log"} if positive else {}))
    return {"data": data, "layout": {"xaxis": axis, "yaxis": titled_axis(sweep.metric)}}


def _line(sweep: SweepResults, place: int, cost: CostConfig, rows: list[FrontRow]) -> dict[str, Any]:
    """What the best trials of any cost have; with three metrics not all of the front lies on it."""
    way = -1 if cost.goal == "maximize" else 1
    points = front_line([(way * row.values[1 + place], sweep.sign * row.values[0]) for row in rows])
    x, y = [round_value(way * value) for value, _ in points], [round_value(sweep.sign * value) for _, value in points]
    line = {"color": "#888888", "width": 1.5, "shape": "hv"}
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "Pareto front",
        "x": x,
        "y": y,
        "line": line,
        "hoverinfo": "skip",
    }


def _confirmed(sweep: SweepResults, place: int, cost: CostConfig, rows: list[FrontRow]) -> dict[str, Any]:
    """Means over the confirm runs, on test; the bars are the 95 % interval there, and the range of the cost."""
    spans = [row.costs[place] or (row.values[1 + place],) * 3 for row in rows]
    means = [row.mean or 0.0 for row in rows]
    ends = [(row.test.low, row.test.high) if row.test else (mean, mean) for row, mean in zip(rows, means, strict=True)]
    bars = {"type": "data", "symmetric": False, "thickness": 1.5, "width": 4}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "confirmed, on test",
        "x": [round_value(mean) for mean, _, _ in spans],
        "y": [round_value(mean) for mean in means],
        "error_x": {
            **bars,
            "array": [round_value(high - mean) for mean, _, high in spans],
            "arrayminus": [round_value(mean - low) for mean, low, _ in spans],
        },
        "error_y": {
            **bars,
            "array": [round_value(high - mean) for (_, high), mean in zip(ends, means, strict=True)],
            "arrayminus": [round_value(mean - low) for (low, _), mean in zip(ends, means, strict=True)],
        },
        "text": [f"{name_trial(sweep, row.trial)}, {format_count(row.runs, 'confirm run')}" for row in rows],
        "marker": {"color": "#c03a3a", "size": 10, "symbol": "diamond", "line": {"color": "#ffffff", "width": 1}},
        "hovertemplate": f"%{{text}}<br>{cost.axis} %{{x}}<br>on test %{{y}}<extra></extra>",
    }
