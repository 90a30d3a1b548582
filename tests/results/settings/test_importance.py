"""Importance of settings: what matters is found, and of pure noise the trials cannot tell."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hwcls.results.compare import build_summary
from hwcls.results.load import load_results
from hwcls.results.settings.importance import describe_importances, rank_settings, setting_importances


def draw(rng, trials):
    """Five settings that have nothing to do with each other."""
    return {
        "lr": (10 ** rng.uniform(-4, 0, trials)).tolist(),
        "dropout": rng.uniform(0, 0.5, trials).tolist(),
        "decay": (10 ** rng.uniform(-6, -2, trials)).tolist(),
        "width": rng.choice([32, 64, 128], trials).tolist(),
        "optimizer": rng.choice(["adam", "sgd"], trials).tolist(),
    }


def test_of_pure_noise_twelve_trials_cannot_tell():
    wrong = [
        any(one.matters for one in rank_settings(draw(rng, 12), rng.normal(size=12)))
        for rng in map(np.random.default_rng, range(400, 700))
    ]
    assert np.mean(wrong) <= 0.075  # 5 % is meant


@pytest.mark.parametrize(
    "better", [-3.5, -2.0, 0.0]
)  # the best learning rate: near an end, inside the range, at an end
def test_a_real_effect_is_found_in_twelve_trials(better):
    tops, matters, others = [], [], []
    for rng in map(np.random.default_rng, range(100)):
        settings = draw(rng, 12)
        first, *rest = rank_settings(settings, -np.abs(np.log10(settings["lr"]) - better) + rng.normal(0, 0.3, 12))
        tops.append(first.name == "lr")
        matters.append(first.name == "lr" and first.matters)
        others.append(any(one.matters for one in rest))
    assert np.mean(tops) >= 0.9
    assert np.mean(matters) >= 0.45
    assert np.mean(others) <= 0.1


def test_shares_are_of_the_variance_of_ranks():
    rng = np.random.default_rng(0)
    settings = {"a": rng.uniform(size=400), "b": rng.uniform(size=400), "c": rng.uniform(size=400)}
    first, second, third = rank_settings(settings, 2 * settings["a"] + settings["b"])
    assert (first.name, second.name, third.name) == ("a", "b", "c")
    assert first.share == pytest.approx(0.8, abs=0.05)  # var(2a) is four times var(b)
    assert first.share + second.share == pytest.approx(1.0, abs=0.05)
    assert (first.matters, second.matters, third.matters) == (True, True, False)
    assert abs(third.share) <= third.band < 0.01


def test_settings_that_move_together_are_counted_once():
    rng = np.random.default_rng(0)
    lr = rng.uniform(size=60)
    width = np.where(lr + rng.normal(0, 0.2, 60) > 0.5, 64, 32).tolist()  # as a sampler that follows good values draws
    assert [one.matters for one in rank_settings({"width": width, "lr": lr}, lr + rng.normal(0, 0.05, 60))] == [
        True,
        False,
    ]


def test_a_value_for_each_trial_tells_nothing():
    names = [f"net{place}" for place in range(12)]
    (found,) = rank_settings({"backbone": names}, range(12))
    assert (found.share, found.matters) == (0.0, False)


def test_equal_trials_tell_nothing():
    found = rank_settings({"lr": range(12), "width": [1, 2] * 6}, [0.5] * 12)
    assert [(one.share, one.matters) for one in found] == [(0.0, False)] * 2


@pytest.fixture
def sweep(results, tmp_path):
    """Thirty trials: the value of cnn is of lr alone, that of mlp of nothing."""
    rng, folder = np.random.default_rng(1), results.sweep(tmp_path)
    for number in range(30):
        lr, label = float(10 ** rng.uniform(-4, 0)), ("cnn", "mlp")[number % 2]
        value = 0.9 - 0.1 * abs(np.log10(lr) + 2) if label == "cnn" else float(rng.uniform(0.3, 0.4))
        results.trial(folder.trial(number), [value], label=label, lr=lr)
    return load_results(tmp_path)


def test_groups_in_words_and_json(sweep):
    found = setting_importances(sweep)
    assert [found[label][0].matters for label in ("cnn", "mlp")] == [True, False]
    whole, cnn, mlp = describe_importances(sweep)
    assert whole.startswith("Of the differences between all 30 trials, model explains ")
    assert cnn.startswith("Of the differences between 15 trials of cnn, lr explains ")
    assert mlp == (
        "Of the differences between 15 trials of mlp, no setting explains more than chance would;"
        " these trials cannot tell whether lr matters."
    )
    rows = json.loads(json.dumps(build_summary(sweep), allow_nan=False))["importance"]
    assert [(row["label"], row["setting"], row["matters"]) for row in rows[-2:]] == [
        ("cnn", "lr", True),
        ("mlp", "lr", False),
    ]


def test_few_trials_have_no_importances(results, tmp_path):
    results.full(tmp_path)
    assert setting_importances(load_results(tmp_path)) == {}
    assert describe_importances(load_results(tmp_path)) == []
