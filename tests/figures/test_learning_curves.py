"""The metric by epoch."""

from __future__ import annotations

import numpy as np
import pytest

from hwcls.figures.drawable import NothingToShow
from hwcls.figures.learning_curves import MAX_FAINT, collect_learning_curves
from hwcls.results.load import load_results
from hwcls.tracking.folders import SweepFolder


def test_the_best_of_each_alternative_and_all_others_faint(tmp_path, results):
    results.full(tmp_path)
    found = collect_learning_curves(load_results(tmp_path))
    assert [(curve.name, curve.trial) for curve in found.strong] == [("mlp", 1), ("resnet", 4)]  # 4 still runs
    assert (found.strong[0].epochs, found.strong[0].values) == ((1, 2, 3), (0.4, 0.9, 0.8))
    assert sorted(curve.trial for curve in found.faint) == [0, 2, 3]
    assert found.caption.startswith(
        "Validation accuracy by epoch: the best trial of each alternative, its best epoch marked; faint: 3 others"
    )


def test_the_confirmed_winner_stands_for_its_alternative(tmp_path, results):
    results.overtaken(tmp_path)
    found = collect_learning_curves(load_results(tmp_path))
    assert [curve.trial for curve in found.strong] == [1, 4]
    assert "by epoch: the confirmed winner of each alternative, its best epoch marked" in found.caption


def test_outliers_do_not_set_the_axis_and_the_caption_says_so(tmp_path, results):
    sweep: SweepFolder = results.sweep(tmp_path)
    for number in range(20):
        results.trial(sweep.trial(number), [0.8, 0.9 - number / 1000])
    results.trial(sweep.trial(20), [0.01])
    found = collect_learning_curves(load_results(tmp_path))
    assert found.limits()[0] > 0.7
    assert found.limits()[1] > 0.9
    assert found.caption.endswith("faint: 20 others, parts of them beyond the axis.")


def test_thousands_of_trials_are_sampled_over_the_ranks(tmp_path, results):
    sweep: SweepFolder = results.sweep(tmp_path)
    for number in range(MAX_FAINT + 50):
        results.trial(sweep.trial(number), [0.5 + number / 1000])
    found = collect_learning_curves(load_results(tmp_path))
    values = [curve.values[0] for curve in found.faint]
    assert len(values) == MAX_FAINT
    assert values[-1] == 0.5
    assert np.all(np.diff(values) < 0)
    assert f"faint: {MAX_FAINT} others of {MAX_FAINT + 49}, evenly over the ranks" in found.caption


def test_nothing_before_the_first_epoch(tmp_path, results):
    sweep: SweepFolder = results.sweep(tmp_path)
    results.trial(sweep.trial(0), [], status=None)
    with pytest.raises(NothingToShow, match="no trial has recorded val/accuracy yet"):
        collect_learning_curves(load_results(tmp_path))
