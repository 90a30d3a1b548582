"""Metrics against scikit-learn and against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from hwcls import metrics

Problem = tuple[np.ndarray, np.ndarray, int]


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Labels, predictions and the number of classes; some classes may have no sample."""
    classes = draw(st.integers(2, 6))
    size = draw(st.integers(1, 40))
    column = st.lists(st.integers(0, classes - 1), min_size=size, max_size=size)
    return np.array(draw(column)), np.array(draw(column)), classes


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N, K), with ties, and labels."""
    classes, size = draw(st.integers(2, 5)), draw(st.integers(2, 30))
    grid = st.integers(0, 4).map(lambda value: value / 4)
    scores = draw(st.lists(st.lists(grid, min_size=classes, max_size=classes), min_size=size, max_size=size))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=size, max_size=size))
    return np.array(scores), np.array(labels)


@settings(max_examples=25, deadline=None)
@given(problems())
def test_confusion_and_averages(problem: Problem) -> None:
    true, guess, classes = problem
    confusion = metrics.confusion_matrix(true, guess, classes)
    assert confusion.dtype == np.int64
    assert np.array_equal(confusion, reference.confusion_matrix(true, guess, labels=range(classes)))
    assert metrics.accuracy(confusion) == pytest.approx(reference.accuracy_score(true, guess))

    scores = metrics.per_class(confusion)
    expected = reference.precision_recall_fscore_support(true, guess, labels=range(classes), zero_division=0)
    present = np.unique(true)
    for ours, theirs in zip((scores.precision, scores.recall, scores.f1, scores.support), expected, strict=True):
        assert np.allclose(ours[present], theirs[present])
    assert np.isnan(np.delete(scores.f1, present)).all()  # nothing judges the others

    for average, combine in (("macro", scores.macro), ("weighted", scores.weighted)):
        expected = reference.precision_recall_fscore_support(
            true, guess, labels=present, average=average, zero_division=0
        )
        ours = [combine(values) for values in (scores.precision, scores.recall, scores.f1)]
        assert ours == pytest.approx(expected[:3])
    assert metrics.macro_f1(confusion) == scores.macro(scores.f1)


def test_a_class_without_samples_is_excluded() -> None:
    confusion = np.array([[2, 0, 1], [0, 3, 0], [0, 0, 0]])  # class 2 is guessed once, never true
    assert metrics.macro_f1(confusion) == pytest.approx((2 * 2 / (3 + 2) + 1) / 2)


def test_a_class_that_nothing_judges_has_no_scores() -> None:
    found = metrics.per_class(np.array([[2, 0, 1], [0, 3, 0], [0, 0, 0]]))
    for values in (found.precision, found.recall, found.f1):
        assert np.isnan(values).tolist() == [False, False, True]
    labels, guess = [0, 0, 0, 1, 1, 1], [0, 0, 2, 1, 1, 1]
    everything = reference.f1_score(labels, guess, average="macro", labels=[0, 1, 2], zero_division=0)
    assert metrics.macro_f1(metrics.confusion_matrix(labels, guess, 3)) == pytest.approx(everything * 3 / 2)


def test_probabilities_that_are_nan_are_wrong() -> None:
    labels, scores = np.array([0, 0, 1, 1, 2]), np.eye(3)[[0, 0, 1, 1, 2]]
    scores[[0, 4]] = np.nan  # argmax would take both for class 0, the first of them rightly
    assert metrics.predicted_classes(scores, labels).tolist() == [1, 0, 1, 1, 0]
    assert metrics.metric_per_image("accuracy", labels, scores).tolist() == [False, True, True, True, False]
    loss = metrics.metric_per_image("loss", labels, scores)
    assert loss[[0, 4]] == pytest.approx(24 * np.log(2))
    assert np.isfinite(metrics.metric_per_image("macro_f1", labels, scores)).all()
    assert metrics.predicted_classes(scores, labels).tolist() != scores.argmax(1).tolist()
    assert metrics.top_k(scores, labels, 1) == 0.6  # the same


def test_labels_out_of_range_are_rejected() -> None:
    for true, guess in (([0, 3], [0, 1]), ([0, 1], [0, -1]), ([0, 1], [0])):
        with pytest.raises(ValueError, match=r"is outside|differ in shape"):
            metrics.confusion_matrix(true, guess, 3)


def test_no_samples_give_nan() -> None:
    empty = metrics.confusion_matrix([], [], 3)
    assert np.isnan([metrics.accuracy(empty), metrics.macro_f1(empty)]).all()
    assert np.isnan(metrics.top_k(np.zeros((0, 3)), [], 1))
    assert np.isnan(metrics.expected_calibration_error(np.zeros((0, 3)), []))


@settings(max_examples=25, deadline=None)
@given(scored())
def test_top_k(problem: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = problem
    classes = scores.shape[1]
    assert metrics.top_k(scores, labels, 1) == pytest.approx((scores.argmax(1) == labels).mean())
    assert metrics.top_k(scores, labels, classes) == 1.0
    apart = scores - 1e-6 * np.arange(classes)  # the lower class first, for scikit-learn too
    for k in range(1, classes):
        expected = (
            reference.top_k_accuracy_score(labels, apart, k=k, labels=range(classes))
            if classes > 2
            else (scores.argmax(1) == labels).mean()
        )
        assert metrics.top_k(scores, labels, k) == pytest.approx(expected)


@settings(max_examples=25, deadline=None)
@given(scored())
def test_roc(problem: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = problem
    areas = metrics.roc_auc(scores, labels)
    assert areas.shape == (scores.shape[1],)
    for label, area in enumerate(areas):
        positive = labels == label
        if positive.all() or not positive.any():
            assert np.isnan(area)
            continue
        assert area == pytest.approx(reference.roc_auc_score(positive, scores[:, label]))
        false, true = metrics.roc_curve(scores[:, label], positive)
        expected = reference.roc_curve(positive, scores[:, label], drop_intermediate=False)
        assert np.allclose(false, expected[0])
        assert np.allclose(true, expected[1])
        assert np.trapezoid(true, false) == pytest.approx(area)


def test_roc_needs_positives_and_negatives() -> None:
    with pytest.raises(ValueError, match="positive and negative"):
        metrics.roc_curve([0.1, 0.2], [True, True])


def test_calibration_by_hand() -> None:
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    labels = np.array([0, 1, 0, 1])
    # bins of a tenth: (0.8, 0.9] 0.9 sure, half right; (0.5, 0.6] 0.6 sure, right; (0.6, 0.7] 0.7 sure, right
    expected = (2 * abs(0.9 - 0.5) + abs(0.6 - 1) + abs(0.7 - 1)) / 4
    assert metrics.expected_calibration_error(scores, labels, bins=10) == pytest.approx(expected)
    assert metrics.expected_calibration_error([[1.0, 0.0], [0.0, 1.0]], [0, 1]) == 0
    assert metrics.expected_calibration_error([[1.0, 0.0], [0.0, 1.0]], [1, 0]) == 1


def test_calibrated_scores_have_a_small_error() -> None:
    random = np.random.default_rng(0)
    scores = random.dirichlet(np.ones(4), 20_000)
    labels = (scores.cumsum(1) > random.random((20_000, 1))).argmax(1)
    assert metrics.expected_calibration_error(scores, labels) < 0.02
    assert metrics.expected_calibration_error(scores[:, ::-1], labels) > 0.2


def test_logits_are_rejected_as_probabilities() -> None:
    logits = np.array([[3.0, -1.0], [1000.0, 0.0]])
    with pytest.raises(ValueError, match="softmax"):
        metrics.expected_calibration_error(logits, [0, 1])
    scores = metrics.softmax(logits)
    assert np.allclose(scores.sum(1), 1)
    assert scores[0, 0] == pytest.approx(1 / (1 + np.exp(-4)))
    assert metrics.expected_calibration_error(scores, [0, 1]) == pytest.approx((1 - scores[0, 0] + 1) / 2, abs=1)


def test_calibration_leaves_out_what_is_unknown() -> None:
    scores = [[0.9, 0.1], [np.nan, np.nan], [0.2, 0.8]]
    assert metrics.expected_calibration_error(scores, [0, 1, 1]) == pytest.approx((0.1 + 0.2) / 2)


def test_scores_must_fit_labels() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        metrics.roc_auc(np.zeros((3, 2)), [0, 1])
    with pytest.raises(ValueError, match="is outside"):
        metrics.top_k(np.zeros((2, 2)), [0, 2], 1)


def test_a_diverged_model_gets_nan() -> None:
    scores = np.full((4, 3), np.nan)
    labels = [0, 1, 2, 0]
    assert metrics.top_k(scores, labels, 1) == 0
    assert metrics.top_k(scores, labels, 2) == 0
    assert np.isnan(metrics.roc_auc(scores, labels)).all()
    assert np.isnan(metrics.expected_calibration_error(scores, labels))


def graded(rng, images, skill):
    """Labels and probabilities of four classes of unequal size, of a model that is right more often with more skill."""
    labels = rng.choice(4, images, p=[0.4, 0.3, 0.2, 0.1])
    scores = rng.dirichlet(np.ones(4), images)
    scores[np.arange(images), labels] += skill
    return labels, scores / scores.sum(1, keepdims=True)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "loss"])
def test_values_per_image_give_the_metric_and_its_error(metric):
    rng = np.random.default_rng(1)
    labels, scores = graded(rng, 600, 0.4)

    def whole(rows):
        confusion = metrics.confusion_matrix(labels[rows], scores[rows].argmax(1), 4)
        loss = -np.log(scores[rows, labels[rows]]).mean()
        return {"accuracy": metrics.accuracy(confusion), "macro_f1": metrics.macro_f1(confusion), "loss": loss}[metric]

    values = metrics.metric_per_image(metric, labels, scores)
    assert values.mean() == pytest.approx(whole(np.arange(600)))
    drawn = [whole(rng.integers(0, 600, 600)) for _ in range(1500)]
    assert values.std() / 600**0.5 == pytest.approx(np.std(drawn), rel=0.1)


def test_macro_f1_without_some_classes():
    labels, scores = np.array([0, 0, 1, 1]), np.eye(5)[[0, 3, 1, 0]]  # class 3 is only predicted, 2 and 4 are not there
    truth = metrics.macro_f1(metrics.confusion_matrix(labels, scores.argmax(1), 5))
    assert metrics.metric_per_image("macro_f1", labels, scores).mean() == pytest.approx(truth)


def test_a_probability_of_zero_gives_a_finite_loss():
    assert np.isfinite(metrics.metric_per_image("loss", np.array([0, 1]), np.eye(2, dtype=np.float16)[[1, 1]])).all()


def test_the_highest_stays_highest_in_float16():
    scores = np.array([[0.3, 0.300001, 0.399999], [0.33333, 0.33334, 0.33333], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    rounded = metrics.to_float16(scores)
    assert rounded.dtype == np.float16
    assert rounded.argmax(1).tolist() == scores.argmax(1).tolist() == [2, 1, 0, 2]
    assert scores.astype(np.float16).argmax(1).tolist() == [2, 0, 0, 2]
    assert np.abs(rounded - scores).max() < 2**-11


def test_a_class_without_samples_is_not_averaged():
    found = metrics.per_class(np.array([[3, 1, 0], [0, 0, 0], [1, 0, 5]]))
    values = np.array([0.5, np.nan, 1.0])
    assert found.weighted(values) == pytest.approx((0.5 * 4 + 6) / 10)
    assert found.macro(values) == 0.75
