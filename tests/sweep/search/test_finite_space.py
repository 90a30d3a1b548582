"""Spaces with fewer points than trials: nothing is tried twice while something else waits."""

from collections import Counter

import pytest

from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.search import finite_space
from hwcls.sweep.search.messages import JOB, EpochReport
from hwcls.sweep.search.searcher import FairSearch
from hwcls.tracking.folders import SweepFolder

LRS = {"optimizer": {"name": "adam", "lr": {"values": [0.1, 0.01]}}}


@pytest.fixture
def search(tiny, tmp_path):
    return lambda **changes: FairSearch(tiny(**changes), SweepFolder(tmp_path / "out"), Resources(1, 1, 0.0, 1), {})


def drive(search, trials):
    """The jobs of some trials, of which those with a large learning rate are far better."""
    jobs = []
    for number in range(trials):
        config = search.suggest(str(number))
        if config == "FINISHED":
            break
        jobs.append(config[JOB])
        value = 0.9 if jobs[-1].parameters["lr"] == 0.1 else 0.1
        search.on_trial_complete(str(number), EpochReport(3, 3, value, value).to_result())
    return jobs


@pytest.mark.parametrize("method", ["auto", "tpe", "gp", "random"])
def test_thirty_trials_of_two_points_are_fifteen_of_each_on_seeds_of_their_own(search, method):
    jobs = drive(search(run_cap=30, compare=None, method=method, parameters=LRS | {"model": {"name": "mlp"}}), 99)
    assert Counter(job.parameters["lr"] for job in jobs) == {0.1: 15, 0.01: 15}
    assert len({(job.parameters["lr"], job.config.seed) for job in jobs}) == 30


def test_only_the_alternative_that_is_small_enough(search):
    """mlp has 2 points in 4 trials, cnn has 8."""
    model = {"choice": {"mlp": {"width": 16}, "cnn": {"name": "simple_cnn", "width": {"values": [2, 4, 8, 16]}}}}
    found = search(run_cap=8, method="tpe", parameters=LRS | {"model": model})
    assert list(found.finite.points) == ["mlp"]
    jobs = drive(found, 99)
    assert Counter(job.label for job in jobs) == {"mlp": 4, "cnn": 4}
    assert Counter(job.parameters["lr"] for job in jobs if job.label == "mlp") == {0.1: 2, 0.01: 2}


def test_a_restart_goes_on_with_what_was_tried_least(search):
    changes = {
        "run_cap": 6,
        "parameters": LRS | {"model": {"choice": {"mlp": {"width": 16}, "cnn": {"name": "simple_cnn"}}}},
    }
    first = drive(search(**changes), 3)
    again = drive(search(**changes), 9)
    counts = Counter((job.label, job.parameters["lr"]) for job in first + again)
    assert (len(counts), set(counts.values())) == (4, {1, 2})


def test_what_was_tried_is_counted_once(search, monkeypatch):
    """Not all of thousands whenever one is asked for."""
    found, counted, settings_of = search(run_cap=20, parameters=LRS), [], finite_space.drawn_or_pinned
    count = lambda trial: counted.append(trial.number) or settings_of(trial)  # noqa: E731
    monkeypatch.setattr(finite_space, "drawn_or_pinned", count)
    drive(found, 20)
    assert counted == list(range(19))


def test_steps_of_a_range_are_the_same_point(search):
    steps = {"optimizer": {"name": "adam", "lr": {"min": 0.1, "max": 0.7, "step": 0.1}}}
    found = search(run_cap=7, compare=None, method="random", parameters=steps | {"model": {"name": "mlp"}})
    assert len({round(job.parameters["lr"], 6) for job in drive(found, 99)}) == 7


def test_a_continuous_space_is_left_to_the_sampler(search):
    assert search(run_cap=30).finite.points == {}
    assert search(run_cap=None, budget="9s", parameters=LRS).finite.points == {}
