"""Every search method and every early-stopping rule of the registries, held to the same rules."""

import math
import random
import subprocess
import sys
from collections import Counter

import pytest
from optuna.trial import TrialState

from hwcls.config.sweep import EARLY_STOPPING, SAMPLERS, parse_early_stopping
from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.search.messages import EpochReport
from hwcls.sweep.search.pruning import FairScheduler
from hwcls.sweep.search.searcher import FairSearch
from hwcls.tracking.folders import SweepFolder
from tests.sweep.search.test_searcher import ask, drive, result

EPOCHS, FIRST = 16, 4
MODEL = {
    "choice": {
        "mlp": {"width": {"values": [8, 16, 32]}, "depth": {"values": [1, 2]}},
        "cnn": {"name": "simple_cnn", "width": {"values": [4, 8]}},
    }
}


@pytest.mark.parametrize("table", [SAMPLERS, EARLY_STOPPING], ids=lambda table: table.kind)
def test_a_component_loads_neither_optuna_nor_ray(table):
    modules = ", ".join(table.modules.values())
    code = f"import sys, {modules}; print(*sorted({{'optuna', 'ray', 'torch'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.fixture(params=SAMPLERS.names())
def search(request, tiny, tmp_path):
    """Opens a search with each method: twelve trials, or all points of a grid; the alternatives have other settings."""
    method = SAMPLERS[request.param]()
    if method.package:
        pytest.importorskip(method.package)
    rate = {"values": [0.01, 0.02]} if method.enumerates else {"min": 1e-3, "max": 1e-1, "log": True}
    settings = {"method": request.param, "run_cap": None if method.enumerates else 12}
    settings |= {} if method.one_metric else {"metric": ["val/accuracy", "cost/parameters"]}
    settings["parameters"] = {"model": MODEL, "optimizer": {"name": "adam", "lr": rate}}

    def build(**changes):
        sweep = tiny(**settings, **changes)
        return FairSearch(sweep, SweepFolder(tmp_path / "out"), Resources(1, 1, 0.0, 1), {})

    return build


def test_each_method_draws_every_trial(search):
    found = search()
    jobs = drive(found)
    assert len(jobs) == found.total == len(found.known_trials())
    assert found.finished
    assert len({str(job.parameters) for job in jobs}) == len(jobs)
    for job in jobs:  # of the settings of the other alternative there are none
        assert set(job.parameters) == (
            {"model", "lr", "width", "depth"} if job.label == "mlp" else {"model", "lr", "width"}
        )


def test_each_method_is_fair_to_the_alternatives(search):
    jobs = drive(search())
    counts = Counter(job.label for job in jobs)
    assert counts == search().sweep.shares.trials_each()
    assert [job.label for job in jobs[:8]] == ["mlp", "cnn"] * 4


def test_each_method_takes_all_ways_to_end(search):
    found = search()
    ends = [result(3, 0.9), result(2, 0.4), result(2, None, failure="the loss is not finite"), None]
    for number in range(found.total):
        ask(found, str(number))
        end = ends[number % len(ends)]
        found.on_trial_complete(str(number), end, error=end is None)
    states = [trial.state for trial in found.known_trials()]
    expected = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.FAIL]
    assert states == (expected * len(states))[: len(states)]


def test_each_method_resumes(search):
    first = search()
    drive(first, trials=4)
    interrupted = ask(first, "interrupted")
    again = search()
    jobs = drive(again)
    assert (jobs[0].key, jobs[0].parameters) == (interrupted.key, interrupted.parameters)
    assert [job.key for job in jobs] == [f"trials/{number}" for number in range(4, again.total)]
    settings = [str(trial.params) for trial in again.known_trials()]
    assert len(set(settings)) == len(settings) == again.total


def test_each_method_respects_settings_that_come_first(search):
    first = {"first": [{"model": "cnn", "optimizer.lr": 0.02}]}
    if search().sweep.config.search.enumerates:
        with pytest.raises(UserError, match="first cannot be combined with a grid"):
            search(**first)
        return
    job = ask(search(**first), "0")
    assert (job.label, job.parameters["lr"]) == ("cnn", 0.02)


def test_an_unknown_method_and_an_unknown_rule(sweep_file):
    with pytest.raises(UserError, match="'tpee' is not a valid value here — did you mean 'tpe'"):
        load_sweep(sweep_file(method="tpee"))
    with pytest.raises(
        UserError, match=r"early_terminate\.type.*'ashaa' is not a valid value here — did you mean 'asha'"
    ):
        load_sweep(sweep_file(early_terminate="ashaa"))
    with pytest.raises(UserError, match=r"early_terminate\.etaa.*unknown key 'etaa' — did you mean 'eta'"):
        load_sweep(sweep_file(early_terminate={"type": "asha", "etaa": 3}))


@pytest.fixture(params=EARLY_STOPPING.names())
def rule(request):
    """The config of each rule."""
    return parse_early_stopping({"type": request.param})


def population(count, seed=0):
    """Learning curves, (trial, its values by epoch): all rise, and some stop rising; the last is the best."""
    chance = random.Random(seed)
    curves = []
    for number in range(count):
        level, last = chance.random(), chance.randint(1, EPOCHS)
        curves.append((f"trials/{number}", [level + 0.01 * min(epoch, last) for epoch in range(1, EPOCHS)]))
    return [*curves, ("trials/best", [2 + 0.01 * epoch for epoch in range(1, EPOCHS)])]


def stops(race, key, values, sign=1):
    """The epoch at which a trial is stopped; None: it is not."""
    best = -math.inf
    for epoch, value in enumerate(values, start=1):
        best = max(best, value)
        if race.stops(key, epoch, sign * value, sign * best):
            return epoch
    return None


def test_each_rule_stops_some_trials_and_never_the_best(rule):
    race = rule.race(FIRST, EPOCHS, "max")
    found = {key: stops(race, key, values) for key, values in population(40)}
    assert found["trials/best"] is None
    ended = [epoch for epoch in found.values() if epoch is not None]
    assert ended
    assert min(ended) >= FIRST


def test_each_rule_decides_by_the_goal(rule):
    races = rule.race(FIRST, EPOCHS, "max"), rule.race(FIRST, EPOCHS, "min")
    for key, values in population(40):
        assert stops(races[0], key, values) == stops(races[1], key, values, sign=-1)


def test_each_rule_takes_values_that_are_not_finite(rule):
    race, plain = rule.race(FIRST, EPOCHS, "max"), rule.race(FIRST, EPOCHS, "max")
    for epoch in range(1, FIRST):
        for value in (None, math.nan):
            assert not race.stops(f"trials/{value}", epoch, value, -math.inf)
    for key, values in population(20):
        assert stops(race, key, values) == stops(plain, key, values)


def test_each_rule_names_its_rungs(rule):
    rungs = rule.rungs(FIRST, EPOCHS)
    assert rungs[0] == FIRST
    assert rungs == sorted(set(rungs))
    assert rungs[-1] < EPOCHS
    assert rule.rungs(EPOCHS, EPOCHS) == []
    brackets = rule.brackets(FIRST, EPOCHS)
    assert brackets[0][0] == FIRST
    assert sum(share for _, share in brackets) == pytest.approx(1)


def reports(values):
    best = -math.inf
    for epoch, value in enumerate(values, start=1):
        best = max(best, value)
        yield EpochReport(epoch, EPOCHS, value, best)


def test_each_rule_decides_the_same_after_a_restart(rule):
    live, again = (FairScheduler(rule, FIRST, EPOCHS, "maximize") for _ in range(2))
    recorded = {}
    for key, values in population(30):
        recorded[key] = []
        for report in reports(values):
            recorded[key].append(report)
            if live.stops("a", key, report):
                break
    for key, known in recorded.items():
        again.replay("a", key, known)
    for key, values in population(30, seed=1):
        key = f"later-{key}"
        decisions = [[found.stops("a", key, report) for report in reports(values)] for found in (live, again)]
        assert decisions[0] == decisions[1]


def test_no_rule_gets_an_epoch_twice(rule):
    """A trial that restarts from its checkpoint trains the epochs since then again."""
    once, twice = (FairScheduler(rule, FIRST, EPOCHS, "maximize") for _ in range(2))
    for key, values in population(30):
        for report in reports(values):
            decision = once.stops("a", key, report)
            assert twice.stops("a", key, report) == decision
            assert twice.stops("a", key, report) == (decision and rule.pauses)  # one that waits still waits


def test_alternatives_do_not_compete_under_any_rule(rule):
    found, alone = (FairScheduler(rule, FIRST, EPOCHS, "maximize") for _ in range(2))
    for key, values in population(20):
        found.replay("strong", f"strong-{key}", reports([value + 5 for value in values]))
    for key, values in population(20):
        assert found.replay("weak", key, reports(values)) == alone.replay("weak", key, reports(values))
