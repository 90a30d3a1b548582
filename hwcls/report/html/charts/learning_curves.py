"""Learning curves, the value of each trial, and the expected best after k trials."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import Any

from hwcls.report.html.charts.figure import (
    NUMBERS,
    OUTSIDE,
    Figure,
    assign_colours,
    escape_text,
    integer_axis,
    legend_line,
    limit_axis,
    name_trial,
    round_value,
    titled_axis,
)
from hwcls.report.html.sample import MAX_DOTS, sample_curves, sample_dots
from hwcls.results.expected_best import collect_trial_sequences
from hwcls.results.load import SweepResults, TrialResult, is_finite
from hwcls.results.representatives import choose_representatives


def epoch_curves(sweep: SweepResults, metric: str) -> Figure | None:
    """`val/<metric>` of all trials by epoch; `train/<metric>`, dotted, only for the representatives.

    Returns None when no trial has the metric.
    """
    val, train = f"val/{metric}", f"train/{metric}"
    palette = assign_colours(sweep)
    ranked = [trial for trial in sweep.ranked() if any(is_finite(line.get(val)) for line in trial.records)]
    best = {trial.label: trial for trial in reversed(ranked)}
    numbers, drawn = {trial.number for trial in ranked}, sample_curves(ranked)
    best |= {one.label: one.trial for one in choose_representatives(sweep) if one.trial.number in numbers}
    faint: list[dict[str, Any]] = []
    strong: list[dict[str, Any]] = []
    for label, first in ((label, best[label]) for label in sweep.labels if label in best):
        group = {"legendgroup": str(label), "line": {"color": palette[label], "width": 1}}
        others = [t for t in ranked if t.label == label and t is not first and t.number in drawn]
        for alike in ([t for t in others if len(t.records) > 1], [t for t in others if len(t.records) == 1]):
            if alike:  # thousands of dots are slow to draw: only single points get one
                faint.append({**_lines(alike, val), **group, "opacity": 0.45, "showlegend": False})
        bold = {"color": palette[label], "width": 2.5}
        name = name_trial(sweep, first)
        strong.append({**_lines([first], val), **group, "line": bold, "name": name})
        if any(is_finite(line.get(train)) for line in first.records):
            dotted = {"color": palette[label], "width": 1.5, "dash": "dot"}
            strong.append(
                {**_lines([first], train), **group, "line": dotted, "name": f"{name}, train", "showlegend": False}
            )
    if not strong:
        return None
    last = max(trial.records[-1]["epoch"] for trial in ranked)
    sign = sweep.sign if sweep.metric == val else -1 if metric.endswith("loss") else 1
    best_values, faint_values = (
        [y for trace in traces for y in trace["y"] if y is not None] for traces in (strong, faint)
    )
    ends = limit_axis(faint_values, sign, shown=best_values)
    layout = {"xaxis": integer_axis("epoch", last), "yaxis": titled_axis(metric.replace("_", " "), **NUMBERS, **ends)}
    keys, captions = [], list[str]()
    if any(trace["line"].get("dash") == "dot" for trace in strong):
        keys.append(legend_line("training images", dash="dot"))
        captions.append("Dotted: the same trial on the training images.")
    if faint:
        some = " some of" if len(drawn) < len(ranked) else ""
        keys.append(legend_line("other trials", width=1, color="#bbbbbb"))
        captions.append(f"Faint:{some} the other trials.")
    if ends:
        captions.append(OUTSIDE)
    return {"data": [*faint, *strong, *keys], "layout": layout, "caption": " ".join(captions)}


def trial_values(sweep: SweepResults) -> Figure | None:
    """The sweep's metric of every trial in the order of their numbers, and the best so far per alternative.

    A confirmed winner is a star.
    """
    winners = {one.trial.number for one in choose_representatives(sweep) if one.confirmed}
    drawn = sample_dots(sweep, winners)
    last = max((trial.number for trial in sweep.trials), default=0)
    dots, steps, shown = [], [], list[float]()
    for label, colour in assign_colours(sweep).items():
        trials = [t for t in sweep.trials if t.label == label and t.value is not None and not t.failed]
        if not trials:
            continue
        group = {
            "type": "scatter",
            "legendgroup": str(label),
            "name": "best so far" if label is None else escape_text(label),
        }
        numbers, values = [t.number for t in trials], [t.value for t in trials if t.value is not None]
        best = list(accumulate(values, max if sweep.sign > 0 else min))
        shown.append(best[-1])
        bends = [place for place, value in enumerate(best) if place == 0 or value != best[place - 1]]
        ends = bends if len(sweep.trials) > MAX_DOTS else range(len(numbers))
        x, y = [*(numbers[place] for place in ends), last], [round_value(best[place]) for place in ends]
        line = {"color": colour, "width": 2, "shape": "hv"}
        step = {"mode": "lines", "x": x, "y": [*y, y[-1]], "line": line}
        steps.append({**group, **step, "hoverinfo": "skip"})
        drawn_here = drawn | {numbers[place] for place in bends}
        trials = [trial for trial in trials if trial.number in drawn_here]
        numbers, values = [t.number for t in trials], [t.value for t in trials if t.value is not None]
        words = [f"{t.status}, confirmed winner" if t.number in winners else t.status for t in trials]
        dot = {"mode": "markers", "x": numbers, "y": [*map(round_value, values)], "text": words}
        marker: dict[str, Any] = {"color": colour, "size": [14 if n in winners else 7 for n in numbers]}
        marker |= {"symbol": ["star" if n in winners else "circle" for n in numbers]}
        marker |= {"opacity": [1.0 if n in winners else 0.6 for n in numbers]}
        hover = "trial %{x}, %{text}<br>%{y}<extra></extra>"
        dots.append({**group, **dot, "marker": marker, "showlegend": False, "hovertemplate": hover})
    if not dots:
        return None
    values_of = {t.number: t.value for t in sweep.trials if t.value is not None and not t.failed}
    shown += [value for number, value in values_of.items() if number in winners]
    limits = limit_axis([*values_of.values()], sweep.sign, shown)
    layout = {"xaxis": integer_axis("trial", last), "yaxis": titled_axis(sweep.metric, **limits)}
    captions = ["A dot is a trial, the line the best so far."]
    captions += ["A star is a confirmed winner."] if winners else []
    captions += [OUTSIDE] if limits else []
    return {"data": steps + dots, "layout": layout, "caption": " ".join(captions)}


def expected_best(sweep: SweepResults) -> Figure | None:
    """The expected best of k trials of each alternative; dotted: the best of its first k trials.

    Returns None when no trial has ended with a value.
    """
    palette, data, last = assign_colours(sweep), [], 0
    averages, as_run = list[float](), list[float]()
    for found in collect_trial_sequences(sweep):
        group = {"type": "scatter", "mode": "lines", "legendgroup": str(found.label), "name": escape_text(found.label)}
        points, last = found.plot_points(), max(last, len(found.values))
        averages += (average := found.expected_best(points))
        expected = {"x": points, "y": [*map(round_value, average)]}
        hover = f"{escape_text(found.label)}, best of %{{x}}<br>%{{y}}<extra></extra>"
        dots = {"mode": "markers"} if len(points) == 1 else {}
        line = {"color": palette[found.label], "width": 2.5}
        data.append({**group, **expected, **dots, "line": line, "marker": line, "hovertemplate": hover})
        so_far = [round_value(value) for value in found.best_so_far()]
        as_run += [value for value in so_far if value is not None]
        steps = {"x": list(range(1, len(so_far) + 1)), "y": so_far, "hoverinfo": "skip", "showlegend": False}
        dotted = {"color": palette[found.label], "width": 1.5, "dash": "dot", "shape": "hv"}
        data.append({**group, **steps, "line": dotted})
    if not data:
        return None
    limits = limit_axis(as_run, sweep.sign, shown=averages)
    layout = {
        "xaxis": integer_axis("trials of the alternative", last),
        "yaxis": titled_axis(sweep.metric, **limits),
    }
    caption = "Solid: the average over random orders of the trials. Dotted: the order in which they ran."
    caption += f" {OUTSIDE}" if limits else ""
    key = legend_line("order in which they ran", dash="dot", shape="hv")
    return {"data": [*data, key], "layout": layout, "caption": caption}


def _lines(trials: Iterable[TrialResult], metric: str) -> dict[str, Any]:
    """Many trials as one trace with gaps between them: browsers draw a few traces fast, thousands slowly."""
    x: list[int | None] = []
    y: list[float | None] = []
    names: list[str | None] = []
    for trial in trials:
        x += [line["epoch"] for line in trial.records] + [None]
        y += [round_value(line.get(metric)) for line in trial.records] + [None]
        names += [f"trial {trial.number}"] * len(trial.records) + [None]
    single = len(x) == 2 or any(len(trial.records) == 1 for trial in trials)
    return {
        "type": "scatter",
        "mode": "lines+markers" if single else "lines",  # a line needs two points
        "marker": {"size": 5},
        "x": x[:-1],
        "y": y[:-1],
        "text": names[:-1],
        "hovertemplate": f"%{{text}}, epoch %{{x}}<br>{escape_text(metric)} %{{y}}<extra></extra>",
    }
