"""The figure of the budget."""

from __future__ import annotations

import pytest

from hwcls.figures.budget import collect_budget
from hwcls.figures.drawable import NothingToShow
from hwcls.results.load import load_results
from hwcls.tracking.folders import SweepFolder


def test_best_so_far_by_trials_epochs_and_time_and_the_expected_best(tmp_path, results):
    sweep: SweepFolder = results.sweep(tmp_path)
    results.trial(sweep.trial(0), [0.5, 0.6], label="cnn")
    results.trial(sweep.trial(1), [0.1], label="cnn", status="failed", error="loss is NaN")  # costs and brings nothing
    results.trial(sweep.trial(2), [0.7, 0.8, 0.9], label="cnn")
    results.trial(sweep.trial(3), [0.99], label="cnn", status=None)  # has not ended
    (row,) = (found := collect_budget(load_results(tmp_path))).rows
    assert row.best == (0.6, 0.6, 0.9)
    assert row.epochs == (2, 3, 6)
    assert row.seconds == pytest.approx((1.2, 1.8, 3.6))
    assert [k for k, _ in row.expected] == [1, 2, 3]
    assert row.expected[-1][1] == pytest.approx(0.9)
    assert [name for name, _, _ in found.panels()] == [
        "trials (expected best)",
        "trials (as run)",
        "epochs",
        "training time (seconds)",
    ]
    assert found.panels()[2][1] == [[(2, 0.6), (3, 0.6), (6, 0.9)]]


@pytest.mark.parametrize(("epochs", "unit"), [(100, "seconds"), (1000, "minutes"), (20_000, "hours")])
def test_the_unit_of_time_follows_the_longest(tmp_path, results, epochs, unit, monkeypatch):
    sweep: SweepFolder = results.sweep(tmp_path)
    results.trial(sweep.trial(0), [0.5])
    result = sweep.trial(0).result()
    sweep.trial(0).write_result(type(result)(result.status, result.best, result.label, {}, 0.6 * epochs))
    assert collect_budget(load_results(tmp_path)).time_unit()[1] == unit


def test_nothing_while_no_trial_has_ended(tmp_path, results):
    sweep: SweepFolder = results.sweep(tmp_path)
    results.trial(sweep.trial(0), [0.5], status=None)
    with pytest.raises(NothingToShow, match="no trial has ended with a value yet"):
        collect_budget(load_results(tmp_path))
