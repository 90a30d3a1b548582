"""Dot-and-interval charts without a library."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hwcls.report.html.charts.dots import Dot, DotRow, alternatives_chart, build_dot_chart, class_chart
from hwcls.report.html.page import write_page
from hwcls.results.load import load_results
from hwcls.results.test_comparison import compare_confirmed
from hwcls.results.test_scores import WinnerScores, score_winners


def test_the_axis_holds_every_interval_and_has_round_ticks():
    chart = build_dot_chart([DotRow("a", (Dot("a", "red", 0.5, 0.41, 0.62),))], str, most=1.0)
    assert chart.low < 0.41 < 0.62 < chart.high
    assert [label for _, label in chart.ticks] == ["0.4", "0.45", "0.5", "0.55", "0.6"]
    assert 0 <= float(chart.place(0.41)[:-1]) < float(chart.place(0.62)[:-1]) <= 100
    assert build_dot_chart([DotRow("a", ())], str) is None


def test_no_tick_is_beyond_the_greatest_value():
    chart = build_dot_chart([DotRow("a", (Dot("a", "red", 0.99, 0.9, 1.0),))], str, most=1.0)
    assert max(value for value, _ in chart.ticks) <= 1.0


def test_a_single_value_has_an_axis():
    chart = build_dot_chart([DotRow("a", (Dot("a", "red", 0.0),))], str)
    assert chart.low < 0 < chart.high


def test_every_alternative_is_there_on_test(results, tmp_path):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.9)
    results.confirm(sweep, "mlp", 0.7)
    loaded = load_results(tmp_path)
    chart, found = alternatives_chart(loaded), compare_confirmed(loaded)
    assert [row.name for row in chart.rows] == ["resnet", "mlp"]
    (dot,) = chart.rows[0].dots
    assert (dot.value, dot.low, dot.high) == (
        found.estimate("resnet").mean,
        found.estimate("resnet").low,
        found.estimate("resnet").high,
    )
    assert "95 % interval" in chart.caption
    text = write_page(tmp_path).read_text("utf-8")
    table = re.search(r'(?s)<table id="alternatives-chart">.*?</table>', text)[0]
    assert table.count("<circle") == table.count('class="interval"') == 2


def test_without_confirm_runs_there_is_no_interval(results, tmp_path):
    results.full(tmp_path)
    chart = alternatives_chart(load_results(tmp_path))
    assert [(row.name, row.shown) for row in chart.rows] == [("mlp", "90.0 %"), ("resnet", "72.0 %")]
    assert all(dot.low is None for row in chart.rows for dot in row.dots)
    assert "on validation" in chart.caption


def test_a_single_confirm_run_each_is_not_called_none(results, tmp_path):
    sweep = results.full(tmp_path)
    for number, label in ((1, "mlp"), (4, "resnet")):
        results.confirm(sweep, label, 0.9, trial=number, seeds=1, role="report")
    chart = alternatives_chart(load_results(tmp_path))
    assert chart.caption == (
        "Accuracy on validation, of the best trial: an interval needs at least two confirm runs of a winner, "
        "with their predictions on test."
    )


def test_an_alternative_that_is_not_confirmed_says_so(results, tmp_path):
    results.confirm(results.full(tmp_path), "resnet", 0.9)
    chart = alternatives_chart(load_results(tmp_path))
    assert [(row.name, row.shown) for row in chart.rows][1] == ("mlp", "not confirmed")


@pytest.fixture
def winners(results, tmp_path):
    results.confirm(results.full(tmp_path), "resnet", 0.8)
    return score_winners(load_results(tmp_path), 3)


def test_f1_intervals_are_those_of_a_bootstrap_of_images(winners):
    """Against resampling the images themselves, of one seed and class."""
    (one,) = winners
    low, high = one.f1_intervals()
    assert np.all(low <= one.mean[2])
    assert np.all(one.mean[2] <= high)
    rng, drawn = np.random.default_rng(1), []
    for confusion in one.confusions:
        true, guess = (np.repeat(axis, confusion.ravel()) for axis in np.divmod(np.arange(9), 3))
        for _ in range(800):
            taken = rng.integers(len(true), size=len(true))
            hit = ((true[taken] == 0) & (guess[taken] == 0)).sum()
            drawn.append(2 * hit / max((true[taken] == 0).sum() + (guess[taken] == 0).sum(), 1))
    assert np.allclose(np.quantile(drawn, (0.025, 0.975)), (low[0], high[0]), atol=0.03)


def test_the_f1_of_a_perfect_class_is_not_certain():
    """Of three images and of many more; the draws in which no image of a class is drawn are not an F1 of 0."""
    confusion = np.array([np.diag([3, 47])] * 5)
    one = WinnerScores("cnn", 0, np.ones((5, 4, 2)), np.array([3, 47]), confusion)
    low, high = one.f1_intervals()
    assert np.all(high == 1)
    assert 0.3 < low[0] < 0.9 < low[1] < 1


def test_a_class_without_test_images_has_no_dot(winners):
    (one,) = winners
    one.support[1] = 0
    chart = class_chart([one], ["a", "b", "c"], {}, "test")
    assert [len(row.dots) for row in chart.rows] == [1, 0, 1]


def test_without_confirm_runs_the_classes_are_shown_on_validation(results, tmp_path):
    sweep = results.full(tmp_path)
    results.seen(sweep.trial(1), 0.9)
    text = write_page(tmp_path).read_text("utf-8")
    assert 'id="classes-val-chart"' in text
    assert 'id="classes-test-chart"' not in text
    results.confirm(sweep, "mlp", 0.8)
    text = write_page(tmp_path).read_text("utf-8")
    assert 'id="classes-test-chart"' in text
    assert 'id="classes-val-chart"' not in text
