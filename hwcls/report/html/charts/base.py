"""Charts as plain plotly figures: dictionaries, since plotly's own classes take seconds to check themselves."""

from __future__ import annotations

import html
from typing import Any

from hwcls.results.load import SweepResults, TrialResult, is_finite

Figure = dict[str, Any]
TOLD = 12  # traces that are put into words
# Told apart on white and on near-black alike.
COLOURS = ("#3f7fd0", "#e0762f", "#1f9e78", "#c2539a", "#8b70d6", "#a98c12", "#2f9fb3", "#b5564a")


def colours(sweep: SweepResults) -> dict[str | None, str]:
    """One colour per alternative, the same in every chart and while the sweep grows."""
    return {label: COLOURS[place % len(COLOURS)] for place, label in enumerate(sweep.labels)}


def counted(name: str, last: int) -> dict[str, Any]:
    """An axis of whole numbers, without the halves that plotly puts between few of them."""
    return {"title": {"text": name}, **({"dtick": 1} if last <= 12 else {})}


def titled(name: str, **more: Any) -> dict[str, Any]:
    """An axis with its name."""
    return {"title": {"text": text(name)}, **more}


def name_trial(sweep: SweepResults, trial: TrialResult) -> str:
    """A trial in a legend."""
    return f"trial {trial.number}" if sweep.compare is None else f"{text(trial.label)}, trial {trial.number}"


def text(value: object) -> str:
    """Text that plotly, which reads some HTML, shows as it stands."""
    return html.escape(str(value), quote=False)


def short(value: Any) -> float | None:
    """Five digits are more than a pixel shows, and keep the page small."""
    return float(f"{value:.5g}") if is_finite(value) else None


def in_words(figure: Figure) -> str:
    """What a chart shows, for those who do not see it: of each named trace how many points, and from where to where."""
    if "words" in figure:
        return str(figure["words"])
    axis = str(figure["layout"].get("yaxis", {}).get("title", {}).get("text", ""))
    said = [_trace(trace) for trace in figure["data"] if trace.get("name")]
    said = [words for words in said if words]
    more = f"; and {len(said) - TOLD} more" if len(said) > TOLD else ""
    return html.unescape((f"{axis}: " if axis else "") + "; ".join(said[:TOLD]) + more)


def _trace(trace: dict[str, Any]) -> str:
    if trace.get("orientation") == "h":
        bars = sorted(((x, name) for x, name in zip(trace["x"], trace["y"], strict=True) if is_finite(x)), reverse=True)
        return f"{trace['name']}, " + ", ".join(f"{name} {x:.2f}" for x, name in bars) if bars else ""
    y = [value for value in trace.get("y") or () if is_finite(value)]
    if not y or trace.get("mode") == "text":
        return ""
    points = "1 point" if len(y) == 1 else f"{len(y)} points"
    ends = (
        f"{y[0]:.4g}" if len(y) == 1 else f"from {y[0]:.4g} to {y[-1]:.4g}, lowest {min(y):.4g}, highest {max(y):.4g}"
    )
    return f"{trace['name']}, {points}, {ends}"
