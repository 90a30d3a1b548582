"""Warm start (`--from`): a search that knows the trials of an earlier sweep."""

import pytest
from optuna.trial import TrialState

from hwcls.errors import UserError
from hwcls.results.load import load_results
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.search.searcher import FairSearch
from hwcls.tracking.left_out import exclude
from tests.sweep.conftest import open_sweep
from tests.sweep.search.test_searcher import ask, drive, result

ONE = Resources(1, 1, 0.0, 1)


def rate(low, high):
    return {"optimizer": {"name": "adam", "lr": {"min": low, "max": high, "log": True}}}


WIDER = rate(1e-4, 1.0)


@pytest.fixture
def search(tiny, tmp_path):
    """Opens a search in a results folder of its own, as the driver does."""

    def build(name, source=None, **changes):
        sweep = tiny(name=name, **changes)
        with open_sweep(sweep, tmp_path / "results") as folder:
            return FairSearch(sweep, folder, ONE, {}, source)

    return build


@pytest.fixture
def old(search, tmp_path):
    """Six ended trials, the fifth of them stopped early, and one that failed."""
    found = search("old", run_cap=7)
    for i in range(7):
        ask(found, str(i))
        found.on_trial_result(str(i), result(1, 0.4))
        ended = result(1, 0.4, failure="NaN") if i == 6 else result(2 if i == 4 else 3, 0.1 * i)
        found.on_trial_complete(str(i), ended)
    assert load_results(tmp_path / "results" / "old").name == "old"
    return tmp_path / "results" / "old", found


def test_a_wider_space_knows_what_the_old_one_found(search, old):
    path, before = old
    found = search("new", path, run_cap=4, parameters=WIDER)
    assert found.warm_start == (6, 6)
    known = found.study.trials
    ended = [trial for trial in before.study.trials if trial.state != TrialState.FAIL]
    assert [trial.params for trial in known] == [trial.params for trial in ended]
    assert [trial.values for trial in known] == [trial.values for trial in ended]
    assert known[0].distributions["optimizer.lr"].high == 1.0
    jobs = drive(found)
    assert [job.key for job in jobs] == [f"trials/{i}" for i in range(4)]  # of its own, counted from 0
    assert [found.known_trials()[i].params["optimizer.lr"] for i in range(4)] == [
        pytest.approx(job.config.optimizer.lr) for job in jobs
    ]
    assert found.known_trials()[3].state == TrialState.COMPLETE
    assert len(found.known_trials()) == 4


def test_it_resumes_with_the_trials_of_the_earlier_sweep(search, old):
    path, _ = old
    first = search("new", path, run_cap=4, parameters=WIDER)
    drive(first, trials=1)
    ask(first, "interrupted")
    again = search("new", path, run_cap=4, parameters=WIDER)
    assert (again.offset, again.warm_start, again.count) == (6, None, 2)
    jobs = drive(again)
    assert [job.key for job in jobs] == ["trials/1", "trials/2", "trials/3"]


def test_trials_outside_the_space_are_left_out(search, old):
    path, before = old
    rates = sorted(trial.params["optimizer.lr"] for trial in before.study.trials[:6])
    assert search("some", path, parameters=rate(rates[0], rates[2])).warm_start == (3, 6)
    with pytest.raises(UserError, match="none of its 6 ended trials"):
        search("none", path, parameters=rate(0.5, 0.9))


def test_earlier_sweeps_that_cannot_be_used(search, old, tmp_path):
    path, _ = old
    with pytest.raises(UserError, match="there is no such folder"):
        search("one", tmp_path / "none")
    with pytest.raises(UserError, match="was ranked by val/accuracy"):
        search("two", path, metric="val/loss")
    drive(search("three", run_cap=4), trials=1)
    with pytest.raises(UserError, match="--from only applies at the first start"):
        search("three", path, run_cap=4)
    (path / "study.journal").write_text("nonsense\n")
    with pytest.raises(UserError, match=r"study\.journal: is damaged \(it holds 0 studies"):
        search("four", path)


def test_what_a_user_excluded_is_not_known(search, old, tmp_path):
    """Also where its own sweep has not begun again since, and knows it still."""
    path, _ = old
    exclude(path / "trials" / "5", "labels leaked")  # the best one
    assert search("new", path, run_cap=4, parameters=WIDER).warm_start == (5, 5)
