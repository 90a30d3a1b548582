"""Metrics on axes and in tables."""

from __future__ import annotations

import pytest

from hwcls.figures.metric_axis import MetricAxis, choose_digits, format_estimate
from hwcls.format import format_fixed


@pytest.mark.parametrize(
    ("metric", "scale", "title"),
    [
        ("test/accuracy", 100, "test accuracy (%)"),
        ("val/accuracy", 100, "validation accuracy (%)"),
        ("val/macro_f1", 1, "validation macro F1"),
        ("test/loss", 1, "test loss"),
    ],
)
def test_titles_have_the_unit(metric, scale, title):
    axis = MetricAxis(metric)
    assert (axis.scale, axis.title) == (scale, title)


@pytest.mark.parametrize(
    ("intervals", "scale", "digits"),
    [
        ([(0.96, 1.0)], 100, 1),  # ± 2 points
        ([(0.96, 1.0), (0.970, 0.979)], 100, 2),  # ± 0.45 points
        ([(0.9700, 0.9701)], 100, 4),
        ([(0.1, 0.9)], 100, 1),  # never whole percents
        ([(None, None)], 100, 2),
        ([(0.5, 0.5)], 100, 2),
        ([(0.30, 0.34)], 1, 3),
        ([], 1, 4),
    ],
)
def test_decimals_follow_the_narrowest_interval(intervals, scale, digits):
    assert choose_digits(intervals, scale) == digits


def test_estimates():
    assert format_estimate((0.9834, 0.9711, 0.9922), 100, 1) == "98.3 (97.1 to 99.2)"
    assert format_estimate((0.9834, None, None), 100, 2) == "98.34"
    assert format_estimate((0.0056, -0.0123, 0.024), 100, 1) == "0.6 (−1.2 to 2.4)"
    assert format_fixed(-0.04, 1) == "0.0"
