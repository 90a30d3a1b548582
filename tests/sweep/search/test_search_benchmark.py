"""The search beside Optuna's samplers: a light part of benchmarks/search.py, of what needs no package of tables."""

import json
from statistics import mean

import pytest

from benchmarks import search

SEEDS = range(3)


def regret(problem, contender):
    return mean(search.play(problem, contender, seed).regret[-1] for seed in SEEDS)


@pytest.mark.parametrize("problem", ["curves by model", "synthetic"])
def test_the_default_is_ahead_where_alternatives_differ(problem):
    found = regret(problem, "hwcls auto")
    assert found < 0.9 * regret(problem, "Optuna TPE, joint")
    assert found < 0.8 * regret(problem, "Optuna random")


def test_tpe_is_ahead_of_one_that_does_not_know_alternatives():
    assert regret("synthetic", "hwcls tpe") < 0.9 * regret("synthetic", "Optuna TPE, joint")


@pytest.mark.parametrize("contender", search.CONTENDERS)
def test_every_contender_plays(contender):
    assert len(search.play("curves by model", contender, 0, after=(20,)).regret) == 1


def test_the_same_seed_gives_the_same_search():
    once, again = (search.play("curves by model", "hwcls auto", 3, after=(20, 24)).regret for _ in range(2))
    assert once == again
    assert len(once) == 2


def test_regret_is_none_at_the_best_and_one_at_the_median():
    problem = search.PROBLEMS["synthetic"]()
    assert problem.labels == ["plain", "wide", "deep"]
    assert search.mean_regret(problem, problem.best) == 0
    assert search.mean_regret(problem, problem.median) == 1
    assert search.mean_regret(problem, {**problem.best, "wide": problem.median["wide"]}) == pytest.approx(1 / 3)
    assert search.mean_regret(problem, {"plain": problem.best["plain"]}) == pytest.approx(2 / 3)


def test_of_settings_that_were_observed_as_equally_good_any_may_be_chosen(monkeypatch):
    drawn = []

    def observe(settings, rng):
        drawn.append(settings["x"])
        return min(settings["x"], 0.4), 1.0

    space = {"x": {"min": 0.0, "max": 1.0}}
    problem = search.Problem("flat", space, observe, lambda settings: settings["x"], {None: 1.0}, {None: 0.5})
    monkeypatch.setitem(search.PROBLEMS, "flat", lambda: problem)
    (regret,) = search.play("flat", "Optuna random", 0, after=(20,)).regret
    equal = [x for x in drawn if x >= 0.4]
    assert len(drawn) == 20 > len(equal) > 1
    assert regret == pytest.approx((1.0 - mean(equal)) / 0.5)


def test_outcomes_are_kept_for_the_same_numbers_of_trials_alone(tmp_path):
    kept = tmp_path / "kept.jsonl"
    assert search.read_kept(kept, [20, 40]) == {}
    found = search.Outcome("synthetic", "hwcls auto", 3, (0.5, 0.25), 0.01, (20, 40))
    kept.write_text(json.dumps(vars(found)) + "\n")
    (again,) = search.read_kept(kept, [20, 40]).values()
    assert json.dumps(vars(again)) == json.dumps(vars(found))
    with pytest.raises(SystemExit, match="other numbers of trials"):
        search.read_kept(kept, [20, 80])
    kept.write_text(json.dumps({name: value for name, value in vars(found).items() if name != "after"}) + "\n")
    with pytest.raises(SystemExit, match="other numbers of trials"):  # which earlier versions did not keep
        search.read_kept(kept, [20, 40])


def test_mean_ranks():
    def outcome(problem, contender, seed, regret):
        return search.Outcome(problem, contender, seed, (1.0, regret), 0.0)

    # a is before b in three of four games, and as good in the fourth; c is the last
    games = [("x", 0, 0.1, 0.2), ("x", 1, 0.1, 0.2), ("y", 0, 0.0, 0.1), ("y", 1, 0.3, 0.3)]
    outcomes = [outcome(p, name, s, value) for p, s, a, b in games for name, value in (("a", a), ("b", b), ("c", 0.9))]
    found = search.mean_ranks(outcomes)
    assert {name: rank for name, (rank, _, _) in found.items()} == {"a": 1.125, "b": 1.875, "c": 3.0}
    assert found["c"] == (3.0, 3.0, 3.0)
    assert found["a"][1] <= 1.125 <= found["a"][2] < found["c"][1]
    (line,) = [
        line for line in search.report(outcomes, (20, 40)).splitlines() if line.startswith("  a ") and " to " in line
    ]
    assert line.split()[1] == "1.12"
