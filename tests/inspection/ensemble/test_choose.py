"""The greedy choice is Caruana's, step by step, and stops where val no longer gets better."""

import numpy as np
import pytest

from hwcls.inspection.ensemble.choose import choose_members


def reference(scores, labels, better, top):
    """By the definition: every candidate is tried at every step, and the first of the best ones is added."""

    def judge(bag):
        mean = np.mean([scores[place].astype(float) for place in bag], axis=0)
        own = mean[np.arange(len(labels)), labels] / mean.sum(1)
        return better(mean, labels), -float(-np.log(own).mean())

    bag, value = [], -np.inf
    while True:
        tried = [[*bag, place] for place in range(len(scores)) if len({*bag, place}) <= top]
        best = max(tried, key=lambda one: (*judge(one), -one[-1]))
        if judge(best)[0] <= value + 1e-9:
            return bag
        bag, value = best, judge(best)[0]


def hit_rate(mean, labels):
    return float((mean.argmax(1) == labels).mean())


def low_loss(mean, labels):
    own = mean[np.arange(len(labels)), labels] / mean.sum(1)
    return float(np.log(np.maximum(own, 2.0**-24)).mean())


@pytest.mark.parametrize("top", [2, 3, 5])
@pytest.mark.parametrize(
    ("metric", "goal", "better"), [("accuracy", "maximize", hit_rate), ("loss", "minimize", low_loss)]
)
def test_the_choice_is_that_of_the_definition(top, metric, goal, better):
    several = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 4, 60)
        logits = rng.normal(size=(7, 60, 4)) + 1.2 * np.eye(4)[labels]
        scores = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
        expected = reference(list(scores), labels, better, top)
        found = choose_members(list(scores), labels, metric, goal, top)
        counts = {place: expected.count(place) for place in dict.fromkeys(expected)}
        if len(expected) < 100:
            assert found == counts
            assert list(found) == list(counts), "the first choice comes first"
        assert len(found) <= top
        several += len(found) > 1
    assert several > 6


def test_a_model_may_count_twice():
    good, other = (np.array([[p, 1 - p] for p in own]) for own in ([0.9, 0.9, 0.1], [0.2, 0.2, 0.9]))
    # the mean loss is 0.84 with shares 1:0, then 0.63 with 1:1, 0.60 with 2:1, 0.62 with 3:1
    assert choose_members([good, other], np.array([0, 0, 0]), "loss", "minimize", 2) == {0: 2, 1: 1}


def test_where_no_average_is_better_it_is_the_best_alone():
    labels = np.array([0, 1, 2])
    sure, wrong = np.eye(3), np.roll(np.eye(3), 1, axis=1)
    assert choose_members([wrong, sure, sure], labels, "accuracy", "maximize", 5) == {1: 1}
