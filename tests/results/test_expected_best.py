"""The best after k trials."""

from __future__ import annotations

import pytest

from hwcls.results.expected_best import TrialSequence, choose_counts, collect_trial_sequences
from hwcls.results.load import load_results
from hwcls.tracking.folders import SweepFolder


def test_trials_count_in_order_and_failed_ones_have_no_value(tmp_path, results):
    results.full(tmp_path)
    results.trial(SweepFolder(tmp_path).trial(6), [0.95], label="mlp")
    mlp, resnet = collect_trial_sequences(load_results(tmp_path))
    assert (mlp.label, mlp.values) == ("mlp", (0.9, None, 0.95))  # trial 5 has not ended
    assert mlp.best_so_far() == [0.9, 0.9, 0.95]
    assert mlp.expected_best([1, 2, 3]) == pytest.approx([0.925, (0.9 + 0.95 + 0.95) / 3, 0.95])
    assert (resnet.values, resnet.best_so_far()) == ((0.7, 0.3), [0.7, 0.7])
    assert choose_counts([mlp, resnet]) == [1, 2, 3]


def test_less_may_be_better():
    found = TrialSequence("a", (None, 0.4, 0.2, 0.6), "minimize")
    assert found.best_so_far() == [None, 0.4, 0.2, 0.2]
    assert found.expected_best([4]) == pytest.approx([0.2])
    assert found.expected_best([1]) == pytest.approx([0.4])


def test_a_long_search_is_a_short_curve():
    points = TrialSequence("a", tuple(float(i) for i in range(3000)), "maximize").plot_points()
    assert (points[0], points[-1]) == (1, 3000)
    assert points[:8] == list(range(1, 9))
    assert len(points) <= 60


def test_the_columns_of_a_table():
    sizes = [TrialSequence("a", (0.1,) * 20, "maximize"), TrialSequence("b", (0.1,) * 13, "maximize")]
    assert choose_counts(sizes) == [1, 2, 4, 8, 13, 16, 20]
    assert choose_counts([]) == []
