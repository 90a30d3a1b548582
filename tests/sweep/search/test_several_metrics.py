"""The search for several metrics, without Tune: what is drawn, what Optuna gets to know, and how it resumes."""

import copy
import math
from collections import Counter

import optuna
import pytest
import yaml
from optuna.trial import TrialState
from ray.tune.search import Searcher

from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.run.reconcile import reconcile
from hwcls.sweep.search.earlier_results import check_earlier_results
from hwcls.sweep.search.sampling.front import POPULATION, FrontSampler, shown_trials
from hwcls.sweep.search.searcher import FairSearch
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.records import EpochRecord
from tests.sweep.search.test_searcher import ask, result

METRIC = ["val/accuracy", "cost/latency"]
WIDTHS = {"min": 4, "max": 256, "log": True}


@pytest.fixture
def search(tiny, tmp_path):
    def build(folder="out", **changes):
        sweep = tiny(**{"metric": METRIC, **changes})
        return FairSearch(sweep, SweepFolder(tmp_path / folder), Resources(1, 1, 0.0, 1), {})

    return build


def drive(search, trials=None, accuracy=lambda job: 0.5, latency=lambda job: 1.0):
    jobs = []
    while trials is None or len(jobs) < trials:
        job = ask(search, str(len(jobs)))
        if job == Searcher.FINISHED:
            break
        end = result(3, accuracy(job), cost={"latency_ms": latency(job)})
        search.on_trial_complete(str(len(jobs)), end)
        jobs.append(job)
    return jobs


@pytest.mark.parametrize("method", ["auto", "tpe", "nsga2", "random"])
def test_every_alternative_gets_the_same_number_of_trials(search, method):
    jobs = drive(search(method=method, run_cap=24))
    assert Counter(job.label for job in jobs) == {"mlp": 12, "cnn": 12}
    assert len({(job.label, job.parameters["lr"]) for job in jobs}) == 24


def test_a_grid_has_every_point(search):
    rate = {"name": "adam", "lr": {"values": [0.01, 0.02, 0.03]}}
    assert len(drive(search(method="grid", run_cap=None, parameters={"optimizer": rate}))) == 6


def test_optuna_gets_all_values_and_the_state_in_which_each_trial_ended(search):
    found = search(run_cap=6)
    for number in range(5):
        ask(found, str(number))
    found.on_trial_result("0", result(1, 0.1, cost={"latency_ms": 2.0}))
    found.on_trial_complete("0", result(3, 0.3, cost={"latency_ms": 2.0}))
    found.on_trial_result("1", result(1, 0.1, cost={"latency_ms": 4.0}))
    found.on_trial_result("1", result(2, 0.2, cost={"latency_ms": 4.0}))
    found.on_trial_complete("1", result(3, 0.15, epochs=4, cost={"latency_ms": 4.0}))  # stopped early, by the first one
    found.on_trial_complete("2", error=True)
    found.on_trial_complete("3", result(3, 0.4))  # its latency is not known
    trials = found.study.trials
    assert [trial.state for trial in trials[:4]] == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.COMPLETE,
    ]
    assert found.study.directions == [optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE]
    assert trials[0].values == [0.3, 2.0]
    assert trials[3].values == [0.4, math.inf]
    assert trials[1].intermediate_values == {1: 0.1, 2: 0.2, 3: 0.15}
    shown = shown_trials(trials, found.study.directions, {})  # what the sampler learns from: of that one its best epoch
    two, four = pytest.approx(math.log(2)), pytest.approx(math.log(4))
    assert [(trial.number, trial.values) for trial in shown if trial.state == TrialState.COMPLETE] == [
        (0, [0.3, two]),
        (1, [0.2, four]),
        (2, [0.2, four]),  # it failed: as bad as the worst
        (3, [0.2, four]),
    ]
    assert [trial.number for trial in shown if trial.state == TrialState.RUNNING] == [4]


def test_what_a_sampler_sees_follows_a_trial_that_changes():
    study = optuna.create_study(directions=["maximize", "minimize"])
    x = {"x": optuna.distributions.FloatDistribution(0, 1)}
    pruned = {"state": TrialState.PRUNED, "intermediate_values": {1: 0.5, 2: 0.4}}
    study.add_trial(
        optuna.trial.create_trial(**pruned, params={"x": 0.1}, distributions=x, user_attrs={"costs": [1.0]})
    )
    study.add_trial(optuna.trial.create_trial(values=[0.3, 10.0], params={"x": 0.2}, distributions=x))
    trials, kept = study.get_trials(deepcopy=False), {}
    first = shown_trials(trials, study.directions, kept)
    assert [one.values for one in first] == [[0.5, 0.0], [0.3, pytest.approx(math.log(10))]]
    assert all(a is b for a, b in zip(first, shown_trials(trials, study.directions, kept), strict=True))
    gone_on = copy.copy(trials[0])  # it had paused; its cost is not known any more
    gone_on.state, gone_on.values = TrialState.COMPLETE, [0.9, math.inf]
    again = shown_trials([gone_on, trials[1]], study.directions, kept)
    assert again[0].values == again[1].values == first[1].values  # as bad as the worst
    assert again[1] is first[1]


def test_a_restart_resumes_running_trials_and_goes_on(search):
    first = search(run_cap=12)
    before = drive(first, trials=5)
    running = ask(first, "x")
    again = search(run_cap=12)
    jobs = drive(again)
    assert jobs[0].key == running.key == "trials/5"
    assert [job.key for job in (*before, *jobs)] == [f"trials/{number}" for number in range(12)]
    assert all(trial.state == TrialState.COMPLETE for trial in again.study.trials)
    more = search(run_cap=14)  # which may be raised later
    assert [job.key for job in drive(more)] == ["trials/12", "trials/13"]


def test_the_cost_outlives_a_crash_before_the_result(search, tiny, tmp_path):
    found = search(run_cap=2, keep="none")
    job = ask(found, "0")
    folder = SweepFolder(tmp_path / "out").trial(0)
    folder.write_cost({"latency_ms": 0.5, "parameters": 10})
    metrics = {"train/loss": 1.0, "val/loss": 1.0, "val/accuracy": 0.7, "val/macro_f1": 0.7}
    for epoch in range(1, job.epochs + 1):
        folder.append(EpochRecord(epoch, metrics, 0.1, 1.0, 1.0).to_dict())
    again = search(run_cap=2, keep="none")
    reconcile(again.sweep, SweepFolder(tmp_path / "out"), again, None)
    assert folder.result().extra["cost"] == {"latency_ms": 0.5, "parameters": 10}
    assert again.study.trials[0].values == [0.7, 0.5]
    assert folder.cost() == {}  # it is in result.json now


def quality(job):
    return 1 - 1 / job.config.model.width - abs(math.log10(job.config.optimizer.lr) + 2)


def speed(job):
    return float(job.config.model.width)


def test_tpe_draws_better_fronts_than_chance(search):
    """By the mean distance of the learning rate from the best one, whatever the width."""
    settings = {
        "compare": None,
        "run_cap": 50,
        "parameters": {"model": {"name": "mlp", "width": WIDTHS}},
    }
    far = {}
    for method in ("auto", "random"):
        jobs = drive(search(folder=method, method=method, **settings), accuracy=quality, latency=speed)
        far[method] = sum(abs(math.log10(job.config.optimizer.lr) + 2) for job in jobs[20:]) / 30
        assert len({job.config.model.width for job in jobs[20:]}) > 5  # it spreads along the front
    assert far["auto"] < 0.6 * far["random"]


def test_nsga2_takes_over_with_the_trials_of_tpe_as_its_first_generation():
    directions = ["maximize", "minimize"]
    sampler = FrontSampler(0, "model", few=2 * POPULATION)
    study = optuna.create_study(directions=directions, sampler=sampler)
    for number in range(2 * POPULATION):
        label = ("a", "b")[number % 2]
        x = optuna.distributions.FloatDistribution(0, 1)
        values = [number / 100, 1.0 + number]
        model = optuna.distributions.CategoricalDistribution(["a", "b"])
        drawn = {"model": label, f"{label}.x": number / 100}
        own = {"model": model, f"{label}.x": x}
        study.add_trial(optuna.trial.create_trial(values=values, params=drawn, distributions=own))
    study.enqueue_trial({"model": "b"})
    trial = study.ask()
    assert trial.suggest_categorical("model", ["a", "b"]) == "b"
    assert 0 <= trial.suggest_float("b.x", 0, 1) <= 1
    (asked,) = (one for one in study.get_trials(deepcopy=False) if one.state == TrialState.RUNNING)
    assert asked.system_attrs["Nsga2 b:generation"] == 1
    cached = study._storage.get_study_system_attrs(study._study_id)["Nsga2 b:parent:1"]
    assert {study.trials[number].params["model"] for number in cached} == {"b"}
    assert len(cached) == POPULATION
    assert set(sampler._nsga2) == {"b"}


def test_an_earlier_sweep_is_known_only_with_the_same_metrics(search, tiny, tmp_path):
    drive(search(folder="before", run_cap=6))
    before = tmp_path / "before"
    sweep = tiny(metric=METRIC)
    (before / "sweep.yaml").write_text(yaml.safe_dump(sweep.resolved()))
    again = FairSearch(tiny(metric=METRIC), SweepFolder(tmp_path / "new"), Resources(1, 1, 0.0, 1), {}, before)
    assert again.warm_start == (6, 6)
    assert again.study.trials[0].values == [0.5, 1.0]
    with pytest.raises(UserError, match=r"was ranked by val/accuracy and cost/latency, this sweep is by val/accuracy"):
        FairSearch(tiny(), SweepFolder(tmp_path / "other"), Resources(1, 1, 0.0, 1), {}, before)


def test_an_earlier_sweep_with_the_other_direction_is_refused(tiny, tmp_path):
    by_goal = {
        goal: tiny(metric=["val/accuracy", {"name": "cost/receptive_field", "goal": goal}])
        for goal in ("minimize", "maximize")
    }
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / "sweep.yaml").write_text(yaml.safe_dump(by_goal["maximize"].resolved()))
    line = r"by val/accuracy and cost/receptive_field \(maximize\), this sweep is by .*field \(minimize\)"
    with pytest.raises(UserError, match=line):
        check_earlier_results(tmp_path / "before", by_goal["minimize"].config.metric)
    check_earlier_results(tmp_path / "before", by_goal["maximize"].config.metric)
