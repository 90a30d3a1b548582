"""The confirmed alternatives on test."""

from __future__ import annotations

import pytest

from hwcls.figures.confusion import collect_confusion
from hwcls.figures.drawable import NothingToShow
from hwcls.figures.tables.rows import build_table
from hwcls.figures.test_scores import collect_test_scores
from hwcls.results.load import load_results
from hwcls.results.test_comparison import compare_confirmed
from hwcls.tracking.folders import SweepFolder


def test_winners_with_their_interval_and_seeds_the_best_first(tmp_path, results):
    results.overtaken(tmp_path)
    sweep = load_results(tmp_path)
    found, compared = collect_test_scores(sweep), compare_confirmed(sweep)
    assert [(row.name, row.trial, len(row.seeds)) for row in found.rows] == [("cnn", 1, 5), ("mlp", 4, 5)]
    cnn, estimate = found.rows[0], compared.estimate("cnn")
    assert (cnn.mean, cnn.low, cnn.high) == (estimate.mean, estimate.low, estimate.high)
    assert cnn.mean == pytest.approx(sum(cnn.seeds) / 5)
    assert found.axis.title == "test accuracy (%)"
    assert found.guessing == compared.guessing
    assert found.caption == (
        "Test accuracy of the confirmed models over 5 seeds each; small dots are seeds."
        " Bars are 95 % intervals (bootstrap over 400 test images, Student's t over seeds)."
    )


def test_a_single_seed_has_no_interval_and_comes_last(tmp_path, results):
    sweep: SweepFolder = results.sweep(tmp_path)
    for number, label in enumerate(("cnn", "mlp")):
        results.trial(sweep.trial(number), [0.7], label=label)
    results.confirm(sweep, "cnn", 0.7, seeds=3, trial=0)
    results.confirm(sweep, "mlp", 0.9, seeds=1, trial=1)
    found = collect_test_scores(load_results(tmp_path))
    assert [(row.name, row.low is None) for row in found.rows] == [("cnn", False), ("mlp", True)]
    assert found.rows[1].mean == found.rows[1].seeds[0]
    assert "over 1 to 3 seeds" in found.caption
    assert "An open marker is a mean without an interval." in found.caption


def test_without_compare_it_is_the_trial(tmp_path, results):
    results.overtaken(tmp_path, compare=None)
    assert [row.name for row in collect_test_scores(load_results(tmp_path)).rows] == ["trial 1"]


def test_less_is_better_where_the_metric_is_a_loss(tmp_path, results):
    results.overtaken(tmp_path, metric={"name": "val/loss", "goal": "minimize"})
    found = collect_test_scores(load_results(tmp_path))
    assert found.axis.title == "test loss"
    assert [row.mean for row in found.rows] == sorted(row.mean for row in found.rows)


@pytest.mark.parametrize(
    ("compare", "names"), [("model", ["cnn, trial 0", "mlp, trial 2"]), (None, ["trial 0", "trial 2"])]
)
def test_with_several_metrics_the_points_of_the_front_are_named_by_trial(tmp_path, results, compare, names):
    metric = {"name": "val/accuracy", "goal": "maximize", "costs": ["cost/latency"]}
    sweep: SweepFolder = results.sweep(tmp_path, metric=metric, compare=compare, confirm={"top": 2, "seeds": 3})
    for number, label, rate in ((0, "cnn", 0.9), (2, "mlp", 0.5)):
        own = label if compare else None
        results.trial(sweep.trial(number), [rate], label=own, lr=0.1 + number, cost={"latency_ms": 4.0 - number})
        first = 10_000_000 + 1000 * number
        results.confirm(sweep, label if compare else "best", rate, trial=number, seeds=3, first=first, role="report")
    loaded = load_results(tmp_path)
    assert [(row.name, row.trial, row.low is None) for row in collect_test_scores(loaded).rows] == [
        (names[0], 0, False),
        (names[1], 2, False),
    ]
    assert collect_confusion(loaded).name == names[0]
    assert build_table(loaded, "comparisons").cells[0][:2] == tuple(names)


def test_nothing_without_confirm_runs(tmp_path, results):
    results.full(tmp_path)
    with pytest.raises(NothingToShow, match="no confirm run has been scored on test"):
        collect_test_scores(load_results(tmp_path))
