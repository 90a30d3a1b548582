"""Early stopping on recorded curves: benchmarks/replay.py with the rules as they are shipped."""

from statistics import mean

import pytest

from benchmarks import replay
from hwcls.config.sweep_file import load_sweep

SEEDS = range(100)  # of fewer, chance is worth more than what is asserted


@pytest.fixture(scope="module")
def curves():
    return replay.Curves.load()


@pytest.fixture(scope="module")
def asha(curves):
    return replay.replay(curves, replay.RULES["asha"], "random", False, SEEDS)


def test_the_curves_are_those_of_the_space(curves):
    points = load_sweep(replay.HERE / "curves.yaml").space.grid()
    assert list(curves.settings) == points
    assert curves.selection.shape == curves.scoring.shape == curves.seconds.shape == (len(points), 27)


@pytest.mark.slow
def test_asha_as_shipped_trains_a_third_of_the_epochs_and_finds_as_much(asha):
    assert replay.times_fewer(asha) >= 3
    assert mean(outcome.regret for outcome in asha) <= 0.05  # points
    assert mean(outcome.regret <= 0.5 for outcome in asha) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("compare", "times", "regret"), [(False, 6, 0.05), (True, 4.5, 0.1)])
def test_promotion_trains_fewer_epochs_and_finds_as_much(curves, compare, times, regret):
    """Of two alternatives each has half of the trials, and ASHA loses 0.08 points too, for 2.9 times fewer epochs."""
    found = replay.replay(curves, replay.RULES["promotion"], "random", compare, SEEDS)
    assert replay.times_fewer(found) >= times
    assert mean(outcome.regret for outcome in found) <= regret  # points


@pytest.mark.parametrize("space", replay.SPACES[1:])
def test_after_a_warm_up_promotion_loses_nothing(space):
    """Trials with warm-up beside others that have none, and a fine-tuned backbone."""
    curves = replay.Curves.load(space)
    points = load_sweep(replay.HERE / f"{space}.yaml").space.grid()
    assert list(curves.settings) == points
    found = replay.replay(curves, replay.RULES["promotion"], "random", False, SEEDS[:6])
    assert replay.times_fewer(found) >= 2
    assert mean(outcome.regret for outcome in found) <= 0.05


@pytest.mark.parametrize("rule", ["hyperband", "median"])
def test_the_other_rules_save_epochs_too(curves, rule):
    found = replay.replay(curves, replay.RULES[rule], "random", False, SEEDS[:6])
    assert replay.times_fewer(found) >= 1.5
    assert mean(outcome.regret for outcome in found) <= 0.1


def test_with_compare_each_alternative_has_its_own_race(curves):
    found = replay.replay(curves, replay.RULES["asha"], "random", True, SEEDS[:6])
    assert replay.times_fewer(found) >= 2.5


def test_none_runs_every_trial_to_its_end(curves):
    (only,) = replay.replay(curves, replay.RULES["none"], "random", False, [0])
    assert only.saved == 1
    assert only.regret == 0


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_the_same_seeds_give_the_same_numbers(curves, method):
    once, again = (replay.replay(curves, replay.RULES["asha"], method, True, [3]) for _ in range(2))
    assert once == again
