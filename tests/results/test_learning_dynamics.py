"""Learning dynamics: how fast models learned, and from which epoch they overfit."""

from dataclasses import replace

import pytest

from hwcls import files
from hwcls.report.html.page import write_page
from hwcls.results.learning_dynamics import LearningSummary, describe_runs, describe_target, summarize_learning
from hwcls.results.load import load_results


def line(epoch, train, val, f1=None, seconds=1.0):
    return {
        "epoch": epoch,
        "train/accuracy": train,
        "val/accuracy": val,
        "val/macro_f1": val - 0.02 if f1 is None else f1,
        "seconds": seconds,
    }


@pytest.fixture
def write(results, tmp_path):
    """Trials with given curves: {label: [(train, val), ...]}."""

    def trial(folder, label, curve, **extra):
        results.trial(folder, [val for _, val in curve], label=label, **extra)
        folder.replace_records([line(epoch, *values) for epoch, values in enumerate(curve, 1)])

    def sweep(curves, **extra):
        made = results.sweep(tmp_path)
        for number, (label, curve) in enumerate(curves.items()):
            trial(made.trial(number), label, curve, **extra)
        return made

    sweep.trial = trial
    return sweep


STEADY = [(0.5, 0.5), (0.7, 0.7), (0.8, 0.8), (0.85, 0.85)]
SLOW = [(0.3, 0.3), (0.5, 0.5), (0.6, 0.6), (0.75, 0.75)]


def test_side_by_side(write, tmp_path):
    write({"fast": STEADY, "slow": SLOW})
    (fast, slow), target = summarize_learning(load_results(tmp_path))
    assert (fast.name, slow.name) == ("fast", "slow")
    assert [mark[0] for mark in fast.at_epochs] == [1, 4]
    assert fast.at_epochs[0][1:] == (0.5, pytest.approx(0.48))
    assert (fast.epoch, fast.train, fast.val) == (4, 0.85, 0.85)
    assert fast.gap == 0
    assert target.value == 0.75  # what the slower one reaches
    assert (fast.reached, fast.reached_seconds) == (3, 3.0)
    assert (slow.reached, slow.reached_seconds) == (4, 4.0)
    assert describe_runs([fast, slow]) == "From the best trial of each alternative."


@pytest.mark.parametrize("value", [0.0, 0.004])
def test_no_target_that_every_model_reaches_at_once(write, tmp_path, value):
    write({"fast": STEADY, "bad": [(value, value)] * 2})
    found, target = summarize_learning(load_results(tmp_path))
    assert target is None
    assert [one.reached for one in found] == [None, None]
    text = write_page(tmp_path).read_text("utf-8")
    assert "is reached by" not in text
    assert "to reach" not in text


def test_pretraining_counts_until_the_bar(write, tmp_path):
    write({"fast": STEADY, "slow": SLOW}, cost={"pretrain_seconds": 100.0})
    found, _ = summarize_learning(load_results(tmp_path))
    assert [one.reached_seconds for one in found] == [103.0, 104.0]


def test_after_ten_epochs(write, tmp_path):
    write({"long": [(0.1 + 0.05 * e, 0.1 + 0.05 * e) for e in range(1, 13)]})
    (only,), target = summarize_learning(load_results(tmp_path))
    assert [mark[0] for mark in only.at_epochs] == [1, 10, 12]
    assert only.at_epochs[1][1] == pytest.approx(0.6)
    assert target is None
    assert only.reached is None


def test_a_growing_gap_names_its_first_epoch(write, tmp_path):
    overfit = [(0.6, 0.6), (0.7, 0.7), (0.8, 0.78), (0.95, 0.78), (1.0, 0.78), (1.0, 0.78), (1.0, 0.78)]
    sweep = write({"deep": overfit})
    files.write_json(sweep.path / "data.json", {"name": "digits", "classes": ["0", "1", "2"], "val": 10})
    (found,), _ = summarize_learning(load_results(tmp_path))
    assert found.gap_grows_after is None  # 10 validation images: two standard errors are 26 points, and the gap 22
    files.write_json(sweep.path / "data.json", {"name": "digits", "classes": ["0", "1", "2"], "val": 6000})
    (found,), _ = summarize_learning(load_results(tmp_path))
    assert found.gap_grows_after == 2  # averaged over three epochs it is 0.7 points there, two standard errors are 1.1
    assert "the gap grows from epoch 3 on" in found.describe_overfitting()


def test_a_constant_gap_does_not_grow(write, tmp_path):
    sweep = write({"even": [(0.6 + 0.05 * e, 0.55 + 0.05 * e) for e in range(6)]})
    files.write_json(sweep.path / "data.json", {"name": "digits", "classes": ["0", "1", "2"], "val": 6000})
    (found,), _ = summarize_learning(load_results(tmp_path))
    assert found.gap_grows_after is None
    assert found.describe_overfitting() == (
        "even: 85.0 % on the training images and 80.0 % on validation at its best epoch, 5.00 points apart; "
        "the gap does not grow significantly."
    )


def test_confirm_runs_take_the_place_of_the_best_trial(write, results, tmp_path):
    sweep = write({"resnet": STEADY, "mlp": SLOW})
    results.confirm(sweep, "resnet", 0.9, seeds=3, trial=0)
    for seed, val in ((1000, 0.8), (1001, 0.9), (1002, 0.7)):
        run = sweep.confirm_run("resnet", seed)
        test = run.result().extra["test"]
        write.trial(run, "resnet", [(0.5, 0.4), (0.9, val)], trial=0, test=test)
    (resnet, mlp), target = summarize_learning(load_results(tmp_path))
    assert (resnet.runs, resnet.confirmed, mlp.runs, mlp.confirmed) == (3, True, 1, False)
    assert resnet.val == pytest.approx(0.8)
    assert resnet.test == pytest.approx(0.9, abs=0.05)
    assert target.value == 0.75
    assert resnet.reached == 2  # of two of three
    assert "On test" in resnet.describe_overfitting()
    assert describe_runs([resnet, mlp]) == "Means over the 3 confirm runs of each winner; epochs are medians."


def test_the_page_shows_it(write, tmp_path):
    write({"fast": STEADY, "slow": SLOW})
    text = write_page(tmp_path).read_text("utf-8")
    assert "Learning dynamics" in text
    assert "to reach 75.0 %" in text
    assert "fast: 85.0 % on the training images" in text


def test_without_a_trial_there_is_no_section(results, tmp_path):
    results.sweep(tmp_path)
    assert summarize_learning(load_results(tmp_path)) == ([], None)
    assert "Learning dynamics" not in write_page(tmp_path).read_text("utf-8")


def test_a_loss_is_reached_from_above(results, tmp_path):
    sweep = results.sweep(tmp_path, metric={"name": "val/loss", "goal": "minimize"})
    for number, losses in enumerate(([0.9, 0.4, 0.2], [0.8, 0.6, 0.5])):
        results.trial(sweep.trial(number), [1.6 - loss for loss in losses], label=("a", "b")[number], status="stopped")
    found, target = summarize_learning(load_results(tmp_path))
    assert target.value == pytest.approx(0.5, abs=0.0101)
    assert {one.name: one.reached for one in found} == {"a": 2, "b": 3}


def test_the_runs_that_reach_the_target_are_counted(results, write, tmp_path):
    sweep = write({"fast": STEADY, "slow": SLOW})
    results.confirm(sweep, "fast", 0.9, seeds=2, trial=0)
    results.confirm(sweep, "slow", 0.8, seeds=2, trial=1)
    curves = {("fast", 1000): STEADY, ("fast", 1001): STEADY, ("slow", 1000): SLOW, ("slow", 1001): [(0.7, 0.7)]}
    for (label, seed), curve in curves.items():
        run = sweep.confirm_run(label, seed)
        run.replace_records([line(epoch, *values) for epoch, values in enumerate(curve, 1)])
        best = max(val for _, val in curve)
        run.write_result(replace(run.result(), best={"epoch": len(curve), "val/accuracy": best}))
    (fast, slow), target = summarize_learning(load_results(tmp_path))
    assert target.value == 0.72  # the median of 0.75 and 0.7, rounded down
    assert (fast.reached, fast.reached_in, fast.runs) == (3, 2, 2)
    assert (slow.reached, slow.reached_seconds, slow.reached_in, slow.runs) == (4, 4.0, 1, 2)
    some = "Not every run reaches a val/accuracy of 72.0 %: epochs and time are medians over those that do."
    assert describe_target([fast, slow], target) == some
    assert describe_target([fast], target) == "Every model reaches a val/accuracy of 72.0 % in every run."
    text = write_page(tmp_path).read_text("utf-8")
    assert some in text
    assert "4 <small>in 1 of 2 runs</small>" in text
    assert "Every model reaches" not in text


def test_the_runs_in_which_the_gap_grows_are_counted():
    one = LearningSummary("cnn", 3, True, (), 9, 0.96, 0.88, 14, 1, None, None, 0, None)
    assert one.describe_overfitting().endswith("apart; in 1 of 3 runs the gap grows from epoch 15 on.")
    assert replace(one, gap_grows_in=3).describe_overfitting().endswith("apart; the gap grows from epoch 15 on.")
