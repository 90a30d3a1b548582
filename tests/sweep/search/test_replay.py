"""Early stopping on recorded curves: benchmarks/replay.py with the rules as they are shipped."""

from statistics import mean

import pytest

from benchmarks import replay
from hwcls.config.sweep_file import load_sweep

SEEDS = range(100)  # of fewer, chance is worth more than what is asserted
MANY = range(400)  # of 100 with alternatives the mean regret has a standard error of 0.04 points


@pytest.fixture(scope="module")
def curves():
    return replay.Curves.load()


def test_the_curves_are_those_of_the_space(curves):
    points = load_sweep(replay.HERE / "curves.yaml").space.grid()
    assert list(curves.settings) == points
    assert curves.selection.shape == curves.scoring.shape == curves.seconds.shape == (len(points), 27)


@pytest.mark.parametrize(
    ("space", "compare", "epochs", "regret", "worst"),
    [
        ("curves", False, 5532, -0.08125, 2.0),
        ("curves", True, 8160, 0.061875, 0.5875),
        ("curves_cifar10", False, 9874, 0.0, 0.0),
        ("curves_fine_tuning", False, 2761, 0.0, 0.0),
    ],
)
def test_the_default_rule_exactly(space, compare, epochs, regret, worst):
    """Twenty random searches: a changed rule changes these, and the numbers of docs/explanation/early_stopping.md."""
    found = replay.replay(replay.Curves.load(space), "asha", "random", compare, SEEDS[:20])
    assert sum(outcome.epochs for outcome in found) == epochs
    regrets = [outcome.regret for outcome in found]
    assert (mean(regrets), max(regrets)) == pytest.approx((regret, worst), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "compare", "times", "seeds"),
    [
        ("random", False, 6.2, SEEDS),
        ("random", True, 4.2, MANY),
        ("auto", False, 6.2, SEEDS[:20]),
        ("auto", True, 4.2, SEEDS[:20]),
    ],
)
def test_promotion_trains_fewer_epochs_and_finds_as_much(curves, method, compare, times, seeds):
    """Of two alternatives each has half of the trials."""
    found = replay.replay(curves, replay.RULES["promotion"], method, compare, seeds)
    assert replay.times_fewer(found) >= times
    assert mean(outcome.regret for outcome in found) <= 0.05  # points
    assert mean(outcome.regret > 1 for outcome in found) <= 0.01


@pytest.mark.slow
def test_stopping_trains_a_third_of_the_epochs_and_finds_as_much(curves):
    found = replay.replay(curves, replay.RULES["stopping"], "random", False, SEEDS)
    assert replay.times_fewer(found) >= 3
    assert mean(outcome.regret for outcome in found) <= 0.05  # points
    assert mean(outcome.regret <= 0.5 for outcome in found) >= 0.9


@pytest.mark.parametrize("space", replay.SPACES[1:])
def test_the_other_curves_are_those_of_their_spaces(space):
    """Trials with warm-up beside others that have none, and a fine-tuned backbone."""
    points = load_sweep(replay.HERE / f"{space}.yaml").space.grid()
    assert list(replay.Curves.load(space).settings) == points


@pytest.mark.parametrize("rule", ["hyperband", "median"])
def test_the_other_rules_save_epochs_too(curves, rule):
    found = replay.replay(curves, replay.RULES[rule], "random", False, SEEDS[:6])
    assert replay.times_fewer(found) >= 1.5
    assert mean(outcome.regret for outcome in found) <= 0.1


def test_with_compare_each_alternative_has_its_own_race(curves):
    found = replay.replay(curves, replay.RULES["stopping"], "random", True, SEEDS[:6])
    assert replay.times_fewer(found) >= 2.5


def test_none_runs_every_trial_to_its_end(curves):
    (only,) = replay.replay(curves, replay.RULES["none"], "random", False, [0])
    assert only.saved == 1
    assert only.regret == 0


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_the_same_seeds_give_the_same_numbers(curves, method):
    once, again = (replay.replay(curves, replay.RULES["promotion"], method, True, [3]) for _ in range(2))
    assert once == again
