"""The best trials looked at closely: what the page says of them is what their files say."""

import numpy as np
import pytest

from hwcls.report.html.page import write_page
from hwcls.results.diagnostics import MAX_ALTERNATIVES, load_diagnostics
from hwcls.results.load import load_results

CLASSES = ["0", "1", "2"]


def test_the_best_of_each_alternative_comes_first(found):
    assert [(one.name, one.trial.number) for one in found] == [
        ("mlp", 1)
    ]  # trial 4, resnet's best, kept no predictions


def test_a_truncated_file_leaves_the_trial_out(sweep):
    (sweep.trial(1).path / "predictions.npz").write_bytes(b"PK torn")
    assert load_diagnostics(load_results(sweep.path)) == []
    assert "Diagnostics" not in write_page(sweep.path).read_text("utf-8").split("<main>")[1].split("</main>")[0]


def test_predictions_of_other_classes_are_not_shown(sweep, results):
    results.seen(sweep.trial(1), 0.9, classes=4)
    assert load_diagnostics(load_results(sweep.path)) == []


def test_no_more_alternatives_than_fit(results, tmp_path):
    folder = results.sweep(tmp_path)
    for number in range(MAX_ALTERNATIVES + 2):
        results.trial(folder.trial(number), [0.5 + number / 100], label=f"m{number}")
        results.seen(folder.trial(number), 0.5)
    found = load_diagnostics(load_results(tmp_path))
    assert [one.name for one in found] == [f"m{number}" for number in range(MAX_ALTERNATIVES + 1, 1, -1)]
    assert f"the {MAX_ALTERNATIVES} best alternatives of {MAX_ALTERNATIVES + 2}" in write_page(tmp_path).read_text(
        "utf-8"
    )


def test_the_matrix_is_that_of_the_scores(found):
    one = found[0]
    expected = np.zeros((3, 3), int)
    for true, guess in zip(one.labels, one.scores.argmax(1), strict=True):
        expected[true, guess] += 1
    assert (one.confusion == expected).all()


def test_worst_pairs(found):
    one = found[0]
    pairs = one.most_confused_pairs(CLASSES)
    assert [count for _, _, count, _ in pairs] == sorted((c for _, _, c, _ in pairs), reverse=True)
    for true, guess, count, share in pairs:
        row = one.confusion[int(true)]
        assert (count, share) == (row[int(guess)], pytest.approx(count / row.sum()))
    assert sum(count for _, _, count, _ in pairs) == one.confusion.sum() - np.trace(one.confusion)


def test_confused_classes_are_neighbours(found):
    one = found[0]
    matrix = np.diag([9] * 6)
    matrix[0, 4] = matrix[4, 0] = 5
    matrix[2, 5] = 3
    one.__dict__["confusion"] = matrix
    order = one.order_classes()
    assert sorted(order) == list(range(6))
    assert abs(order.index(0) - order.index(4)) == 1
    assert abs(order.index(2) - order.index(5)) == 1
