"""What all charts share. A figure is a plain dictionary in plotly.js's format, with "data" and "layout"."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from hwcls.escape import printable
from hwcls.format import format_number
from hwcls.results.load import SweepResults, TrialResult, is_finite
from hwcls.statistics import range_of_most

Figure = dict[str, Any]
MAX_DESCRIBED = 12  # traces in a figure's text alternative
NUMBERS = {"exponentformat": "e", "minexponent": 5}  # of an axis: 1e-4 as learning rates are written, not 100µ
EDGE = 0.08  # of an axis, beyond its first and last value
OUTSIDE = "The worst values are outside the chart; a double click shows all."
COLOURS = ("#3f7fd0", "#e0762f", "#1f9e78", "#c2539a", "#8b70d6", "#a98c12", "#2f9fb3", "#b5564a")  # on light and dark


def assign_colours(sweep: SweepResults) -> dict[str | None, str]:
    """One colour per alternative, the same in every chart and while the sweep grows."""
    return {label: COLOURS[place % len(COLOURS)] for place, label in enumerate(sweep.labels)}


def integer_axis(name: str, last: int) -> dict[str, Any]:
    """An axis of whole numbers; with few of them plotly.js would add halves."""
    return {"title": {"text": name}, **({"dtick": 1} if last <= 12 else {})}


def titled_axis(name: str, **more: Any) -> dict[str, Any]:
    """An axis with its title."""
    return {"title": {"text": escape_text(name)}, **more}


def limit_axis(values: Sequence[float], sign: int, shown: Sequence[float] = ()) -> dict[str, Any]:
    """The range of an axis that would be too long with its worst values, as of `range_of_most`; empty: it shows all."""
    if (found := range_of_most(values, sign, shown)) is None:
        return {}
    edge = EDGE * (found[1] - found[0])
    return {"range": [found[0] - edge, found[1] + edge]}


def name_trial(sweep: SweepResults, trial: TrialResult) -> str:
    """A trial in a legend."""
    return f"trial {trial.number}" if sweep.compare is None else f"{escape_text(trial.label)}, trial {trial.number}"


def legend_line(name: str, **line: Any) -> dict[str, Any]:
    """An entry of the legend alone: what a kind of line means, whatever its colour."""
    grey = {"color": "#888888", "width": 1.5, **line}
    nothing: dict[str, Any] = {"x": [None], "y": [None], "hoverinfo": "skip"}
    return {"type": "scatter", "mode": "lines", "name": name, "line": grey, **nothing}


def escape_text(value: object) -> str:
    """Text without HTML, some of which plotly.js would interpret."""
    return html.escape(printable(str(value)), quote=False)


def round_value(value: Any) -> float | None:
    """Five digits: more than a pixel shows, and a small page; None for what is not a finite number."""
    return float(f"{value:.5g}") if is_finite(value) else None


def describe_figure(figure: Figure) -> str:
    """A figure's text alternative: for each named trace the number of points and their range."""
    if "description" in figure:
        return str(figure["description"])
    axis = str(figure["layout"].get("yaxis", {}).get("title", {}).get("text", ""))
    traces = [text for trace in figure["data"] if trace.get("name") and (text := _describe_trace(trace))]
    more = f"; and {len(traces) - MAX_DESCRIBED} more" if len(traces) > MAX_DESCRIBED else ""
    return html.unescape((f"{axis}: " if axis else "") + "; ".join(traces[:MAX_DESCRIBED]) + more)


def _describe_trace(trace: dict[str, Any]) -> str:
    if trace.get("orientation") == "h":
        bars = sorted(((x, name) for x, name in zip(trace["x"], trace["y"], strict=True) if is_finite(x)), reverse=True)
        return f"{trace['name']}, " + ", ".join(f"{name} {x:.2f}" for x, name in bars) if bars else ""
    y = [value for value in trace.get("y") or () if is_finite(value)]
    if not y or trace.get("mode") == "text":
        return ""
    first, last, least, most = (format_number(float(value)) for value in (y[0], y[-1], min(y), max(y)))
    if len(y) == 1:
        return f"{trace['name']}, 1 point, {first}"
    ends = f"from {first} to {last}, lowest {least}, highest {most}"
    return f"{trace['name']}, {len(y)} points, {ends}"
