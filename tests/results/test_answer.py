"""What the sweep found, in sentences."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import numpy as np

from hwcls import files
from hwcls.figures.tables.rows import build_table
from hwcls.report.html.charts.slices import slices
from hwcls.report.html.leaderboard import build_board
from hwcls.report.html.page import write_page
from hwcls.results.answer import describe_answer, describe_briefly, name_alternative
from hwcls.results.compare import build_alternatives
from hwcls.results.load import load_results
from hwcls.results.test_comparison import compare_confirmed
from hwcls.tracking.records import Result


def test_the_answer_before_confirm_is_careful(tmp_path, results):
    results.full(tmp_path)
    text = describe_answer(load_results(tmp_path))
    assert text.startswith("Best on val/accuracy: mlp with 0.9 (trial 1, epoch 2), ahead of resnet 0.72.")
    assert "one run" in text
    assert "2 trials not finished" in text


def test_the_answer_says_what_waits(tmp_path, results):
    sweep = results.full(tmp_path)
    results.trial(sweep.trial(7), [0.5], status=None, label="mlp")
    sweep.trial(7).pause(Result("stopped", None, "mlp", {}, 0.0))
    text = describe_answer(load_results(tmp_path))
    assert "3 trials not finished (1 paused: those among the best go on)." in text
    assert "A paused trial waits at an epoch of early stopping" in write_page(tmp_path).read_text()


def test_the_answer_when_less_is_better(tmp_path, results):
    sweep = results.sweep(tmp_path, metric={"name": "val/loss", "goal": "minimize"})
    results.trial(sweep.trial(0), [0.5], status=None)
    results.trial(sweep.trial(1), [0.8], status=None, label="mlp")
    assert describe_answer(load_results(tmp_path)).startswith(
        "Best on val/loss: mlp with 0.8 (trial 1, epoch 1), ahead of resnet 1.1."
    )


def test_the_answer_without_a_value(tmp_path, results):
    sweep = results.sweep(tmp_path)
    assert describe_answer(load_results(tmp_path)) == "No trial has started yet."
    results.trial(sweep.trial(0), [], status=None)
    results.trial(sweep.trial(1), [], status="failed", error="out of memory")
    results.trial(sweep.trial(2), [0.3], status="failed", error="out of memory")
    text = describe_answer(load_results(tmp_path))
    assert text == "No trial has a value of val/accuracy yet: 1 unfinished and 2 failed."


def test_confirmed_but_not_significant(tmp_path, results):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.8, seeds=2)
    results.confirm(sweep, "mlp", 0.8, seeds=2)
    text = describe_answer(load_results(tmp_path))
    assert "No significant difference from" in text
    assert "beats" not in text
    assert "seed" in text.rpartition(";")[2]


def test_equal_winners_are_not_ahead_of_each_other(tmp_path, results):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 1.0)
    results.confirm(sweep, "mlp", 1.0)
    text = describe_answer(load_results(tmp_path))
    assert " over 5 seeds, and resnet the same." in text or " over 5 seeds, and mlp the same." in text
    assert "; more seeds alone would not decide it." in text
    page = write_page(tmp_path).read_text("utf-8")
    assert "On test mlp and resnet are equal." in page or "On test resnet and mlp are equal." in page


def test_one_alternative_confirmed(tmp_path, results):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.8)
    assert "Confirmed: on test the accuracy of resnet (trial 0) is 7" in describe_answer(load_results(tmp_path))


def test_a_value_on_test_is_named_with_its_own_trial(tmp_path, results):
    results.overtaken(tmp_path)
    text = describe_answer(load_results(tmp_path))
    assert text.startswith("On test cnn (trial 1) has the highest accuracy, 9")
    assert text.endswith(
        " In the search, on val/accuracy, trial 9 (0.99) of cnn was ahead of trial 1 (0.95)"
        " and trial 2 (0.92) of mlp was ahead of trial 4 (0.9)."
    )


def test_without_compare_the_winner_is_named_too(tmp_path, results):
    results.overtaken(tmp_path, compare=None)
    text = describe_answer(load_results(tmp_path))
    assert text.startswith("Confirmed: on test the accuracy of trial 1 is 9")
    assert text.endswith("over 5 seeds. In the search, on val/accuracy, trial 9 (0.99) was ahead of trial 1 (0.95).")


def test_a_single_seed_on_test_is_named_with_its_trial(tmp_path, results):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.8, seeds=1, trial=4)
    score = load_results(tmp_path).confirm[0].test["test/accuracy"]
    text = describe_answer(load_results(tmp_path))
    assert text.endswith(f" Accuracy on test, without an interval: resnet (trial 4) {100 * score:.1f} % (1 seed).")


def test_a_single_seed_is_named_beside_those_that_have_an_interval(tmp_path, results):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.8, seeds=1, trial=4)
    results.confirm(sweep, "mlp", 0.7, seeds=3, trial=1)
    text = describe_answer(load_results(tmp_path))
    assert text.startswith("Confirmed: on test the accuracy of mlp (trial 1) is ")
    assert " over 3 seeds. Accuracy on test, without an interval: resnet (trial 4) " in text
    assert text.count("mlp (trial 1)") == 1
    for path in tmp_path.glob("confirm/mlp/*/test_predictions.npz"):
        path.unlink()
    assert re.search(r"mlp \(trial 1\) \d\d\.\d % \(3 seeds\) and resnet", describe_answer(load_results(tmp_path)))


def test_many_alternatives_stay_short(tmp_path, results):
    sweep = results.sweep(tmp_path)
    rates = {"a": 0.95, "b": 0.94, "c": 0.93, "d": 0.7, "e": 0.68, "f": 0.62, "g": 0.58, "h": 0.56, "i": 0.5}
    for number, (label, rate) in enumerate(rates.items()):
        results.trial(sweep.trial(number), [rate], label=label)
    text = describe_answer(load_results(tmp_path))
    assert "a with 0.95 (trial 0, epoch 1), ahead of b 0.94, c 0.93, d 0.7 and 5 others." in text
    for number, (label, rate) in enumerate(rates.items()):
        results.confirm(sweep, label, rate, trial=number, seeds=3)
    text = describe_answer(load_results(tmp_path))
    assert len(text) < 500
    assert "It beats e, d, f and 3 others; the nearest, e, by 2" in text
    assert "No significant difference from b or c: the nearest, b, is 1." in text
    assert text.endswith(" more seeds each would decide it for c, not for the others.")


def test_the_answer_is_by_the_metric_that_selected(tmp_path, results):
    sweep = results.sweep(tmp_path, metric={"name": "val/loss", "goal": "minimize"})
    for number, (label, sure) in enumerate({"calm": 0.9, "rash": 0.6}.items()):
        results.trial(sweep.trial(number), [0.8], label=label)
        results.confirm(sweep, label, 1.0, trial=number)  # all of them right on every image
        for seed in range(1000, 1005):
            write_scores(sweep.confirm_run(label, seed), sure)
    text = describe_answer(load_results(tmp_path))
    assert text.startswith(
        "On test calm (trial 0) has the lowest loss, 0.1054 (95 % interval 0.1054 to 0.1054) over 5 seeds."
    )
    assert text.endswith("It beats rash by 0.4055 (95 % interval 0.4055 to 0.4055).")


def write_scores(folder, sure):
    """Every image's own class with the same probability, and a record that says so."""
    truth = np.arange(90) % 3
    scores = np.full((90, 3), (1 - sure) / 2, np.float16)
    scores[np.arange(90), truth] = sure
    files.write_with(folder.path / "test_predictions.npz", lambda file: np.savez(file, labels=truth, scores=scores))
    result = folder.result()
    result.extra["test"] = {"test/loss": -float(np.log(sure))}
    folder.write_result(result)


def test_a_number_is_named_with_its_key():
    sweep = SimpleNamespace(compare="data.batch_size", compared="batch_size")
    assert [name_alternative(sweep, label) for label in ("64", "1e-05", "True")] == [
        "batch_size 64",
        "batch_size 1e-05",
        "batch_size True",
    ]
    sweep = SimpleNamespace(compare="model", compared="model")
    assert [name_alternative(sweep, label) for label in ("cnn", "resnet18", "v1.5")] == ["cnn", "resnet18", "v1.5"]


def test_a_compared_key_of_a_section_within_the_model_is_named_with_the_section(tmp_path, results):
    sweep = results.sweep(tmp_path, compare="model.head.depth")
    for number in (1, 2):
        results.trial(sweep.trial(number), [0.5, 0.6 + number / 10], label=str(number))
        path = sweep.trial(number).path / "result.json"
        settings = {"head_depth": number, "depth": 3 - number}
        files.write_json(path, json.loads(path.read_text()) | {"parameters": settings})
    found = load_results(tmp_path)
    assert "head_depth 2 with 0.8 (trial 2, epoch 2), ahead of head_depth 1 0.7." in describe_answer(found)
    assert [title for _, title, _ in slices(found)] == ["depth"]
    assert build_table(found, "leaderboard").header[2] == "head_depth"
    shown = [column.heading for column in build_board(found).columns]
    assert "depth" in shown
    assert "head_depth" not in shown  # that is the column of the alternative


def test_equal_values_are_not_ahead(tmp_path, results):
    sweep = results.overtaken(tmp_path)
    results.trial(sweep.trial(9), [0.5, 0.95], label="cnn", lr=0.09)
    results.trial(sweep.trial(0), [0.95000001], label="cnn", lr=0.1)  # shown as 0.95 as well
    results.trial(sweep.trial(2), [0.9], label="mlp", lr=0.1)
    found = load_results(tmp_path)
    text = describe_answer(found)
    assert text.startswith("On test cnn (trial 1)")
    assert "In the search" not in text
    assert [row["best_trial"] for row in build_alternatives(found)] == [0, 2]
    assert "search leader" not in write_page(tmp_path).read_text("utf-8")


def test_a_verdict_that_is_not_significant_has_its_p_and_level(tmp_path, results):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.8, seeds=2)
    results.confirm(sweep, "mlp", 0.8, seeds=2)
    found = load_results(tmp_path)
    pair = compare_confirmed(found).comparison.differences[0]
    assert f"; p {pair.p:.2g}, significant below 0.033); " in describe_answer(found)


def test_a_winner_that_may_be_guessing_is_named(tmp_path, results):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.34)  # of three classes, 134 of the 400 images are of the first
    sentence = " That may be no better than guessing (33.5 %): use more photos or a pretrained backbone."
    assert f" over 5 seeds.{sentence} " in describe_answer(load_results(tmp_path))
    assert sentence.strip() in write_page(tmp_path).read_text("utf-8")
    results.confirm(sweep, "mlp", 0.3)
    assert sentence in describe_answer(load_results(tmp_path)), "beside another one, too"
    results.confirm(sweep, "mlp", 0.8)
    assert "guessing" not in describe_answer(load_results(tmp_path)), "the best one is not"


def test_the_short_answer_needs_no_predictions_and_begins_with_the_best(tmp_path, results):
    sweep = results.full(tmp_path)
    assert describe_briefly(load_results(tmp_path)).endswith("mlp with 0.9 (trial 1, epoch 2), ahead of resnet 0.72.")
    results.confirm(sweep, "mlp", 0.7, seeds=3, trial=1)
    results.confirm(sweep, "resnet", 0.8, seeds=1, trial=4)
    for path in tmp_path.glob("confirm/*/*/test_predictions.npz"):
        path.unlink()
    pattern = r"Accuracy on test: resnet \(trial 4\) \d\d\.\d % \(1 seed\) and mlp \(trial 1\) \d\d\.\d % \(3 seeds\)\."
    assert re.fullmatch(pattern, describe_briefly(load_results(tmp_path)))
