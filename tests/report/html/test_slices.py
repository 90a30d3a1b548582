"""Each setting against the metric."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from hwcls.report.html.charts.figure import assign_colours
from hwcls.report.html.charts.slices import MAX_SLICES, slices
from hwcls.report.html.page import write_page
from hwcls.results.load import load_results


def make(path, results, settings):
    """Trials of two alternatives with these settings."""
    folder = results.sweep(path, compare="model")
    for number, _ in enumerate(settings):
        results.trial(folder.trial(number), [0.5 + number / 100], label="ab"[number % 2])
    sweep = load_results(path)
    pairs = zip(sweep.trials, settings, strict=True)
    return replace(sweep, trials=tuple(replace(trial, parameters=own) for trial, own in pairs))


def test_each_setting_has_a_scatter_by_alternative(results, tmp_path, monkeypatch):
    monkeypatch.setattr("hwcls.report.html.charts.slices.log_settings", lambda sweep: {"lr"})
    sweep = make(tmp_path, results, [{"model": "ab"[n % 2], "lr": 10.0**-n, "kind": "xy"[n > 1]} for n in range(4)])
    found = {title: figure for _, title, figure in slices(sweep)}
    assert set(found) == {"lr", "kind"}  # the alternative is the colour
    a, b = found["lr"]["data"]
    assert (a["name"], sorted(zip(a["x"], a["y"], strict=True))) == ("a", [(0.01, 0.52), (1.0, 0.5)])
    palette = assign_colours(sweep)
    assert (a["marker"]["color"], b["marker"]["color"]) == (palette["a"], palette["b"])
    assert found["lr"]["layout"]["xaxis"]["type"] == "log"
    assert found["lr"]["layout"]["xaxis"]["exponentformat"] == "e"  # 1e-4, not 100µ
    assert found["kind"]["layout"]["xaxis"]["type"] == "category"
    assert all("height" in figure["layout"] for figure in found.values())


def test_a_setting_that_some_trials_lack_shows_the_others(results, tmp_path):
    sweep = make(tmp_path, results, [{"momentum": 0.8}, {}, {"momentum": 0.9}])
    ((_, name, figure),) = slices(sweep)
    assert name == "momentum"
    assert sum(len(trace["x"]) for trace in figure["data"]) == 2


def test_there_are_so_many_slices_at_most(results, tmp_path):
    assert len(slices(make(tmp_path, results, [{f"s{k}": n for k in range(20)} for n in range(3)]))) == MAX_SLICES
    assert slices(make(tmp_path / "one", results, [{"lr": 1.0}])) == []


def test_slices_are_on_the_page(results, tmp_path):
    sweep = results.sweep(tmp_path)
    for number in range(3):
        results.trial(sweep.trial(number), [0.5], lr=10.0**-number)
    text = write_page(tmp_path).read_text("utf-8")
    figures = json.loads(re.search(r'<script id="figures" type="application/json">(.*?)</script>', text)[1])
    assert figures["slice-0"]["layout"]["xaxis"]["title"]["text"] == "lr"
    assert 'id="chart-slice-0"' in text


def test_a_trial_far_from_the_others_does_not_hide_them(results, tmp_path):
    folder = results.sweep(tmp_path)
    for number in range(12):
        results.trial(folder.trial(number), [0.1 if number == 11 else 0.9 + number / 1000], lr=10.0**-number)
    ((_, _, figure),) = slices(load_results(tmp_path))
    low, high = figure["layout"]["yaxis"]["range"]
    assert 0.8 < low < 0.9 < 0.91 < high
    assert "far from the others and outside of these charts" in write_page(tmp_path).read_text("utf-8")
