"""The study of a sweep that was changed: the same numbers, the present space, and nothing of what is left out."""

import multiprocessing
import os
import signal
from collections import Counter

import pytest
from optuna.trial import TrialState

from hwcls.sweep.storage.changes.exclusion import exclude_trials, include_trials
from hwcls.tracking.folders import SweepFolder
from tests.sweep.changing import begin
from tests.sweep.conftest import SWEEP

FLAT = {"compare": None, "method": "tpe", "run_cap": 12}


def optimizer(low, high):
    return {"model": "mlp", "optimizer": {"name": "adam", "lr": {"min": low, "max": high, "log": True}}}


def flat(tiny, low=1e-3, high=1e-1, **more):
    return tiny(**{**FLAT, **more, "parameters": {**optimizer(low, high), **more.get("parameters", {})}})


def states(search):
    return [trial.state for trial in search.known_trials()]


def test_tpe_draws_from_all_of_a_wider_range(tiny, tmp_path):
    """Optuna's own groups keep the first distribution of a parameter, so that nothing beyond it would be drawn."""
    begin(flat(tiny), tmp_path, value=lambda job: job.config.optimizer.lr)
    _, _, jobs = begin(flat(tiny, high=10, run_cap=40), tmp_path, value=lambda job: job.config.optimizer.lr)
    beyond = [job.config.optimizer.lr for job in jobs if job.config.optimizer.lr > 0.1]
    assert len(beyond) > len(jobs) / 2  # where it is better
    search, _, _ = begin(flat(tiny, high=10, run_cap=40), tmp_path)
    assert {str(t.distributions["optimizer.lr"].high) for t in search.known_trials()} == {"10.0"}


def test_tpe_draws_nothing_beyond_a_narrower_range(tiny, tmp_path):
    begin(flat(tiny), tmp_path, value=lambda job: job.config.optimizer.lr)
    search, _, jobs = begin(flat(tiny, high=1e-2, run_cap=30), tmp_path, value=lambda job: job.config.optimizer.lr)
    assert max(job.config.optimizer.lr for job in jobs) <= 1e-2
    left = search.left_out
    assert left
    for number, trial in enumerate(search.known_trials()):
        assert (trial.state, trial.params) == (TrialState.FAIL, {}) if number in left else trial.params
    assert len(states(search)) == 30 + len(left)


def test_values_of_a_categorical_come_and_go(tiny, tmp_path):
    def data(*sizes):
        return {"data": {**SWEEP["parameters"]["data"], "batch_size": {"values": list(sizes)}}}

    begin(flat(tiny, parameters=data(32, 64)), tmp_path)
    begin(flat(tiny, run_cap=24, parameters=data(32, 64, 128)), tmp_path)
    search, _, _ = begin(flat(tiny, run_cap=24, parameters=data(128, 64)), tmp_path)
    drawn = Counter(trial.params.get("data.batch_size") for trial in search.known_trials())
    assert drawn[None] == len(search.left_out) > 0
    assert drawn[64] + drawn[128] == 24
    assert drawn[32] == 0


def test_a_journal_that_agrees_stays_as_it_is(tiny, tmp_path):
    begin(flat(tiny), tmp_path)
    journal = tmp_path / "tiny" / "study.journal"
    before = journal.read_bytes()
    begin(flat(tiny, run_cap=13), tmp_path)  # more trials alone rebuild nothing
    assert journal.read_bytes().startswith(before)
    begin(flat(tiny, high=1, run_cap=13), tmp_path)
    rebuilt = journal.read_bytes()
    assert not rebuilt.startswith(before)
    begin(flat(tiny, high=1, run_cap=14), tmp_path)
    assert journal.read_bytes().startswith(rebuilt)


def test_the_sampler_knows_the_values_but_not_those_of_excluded_trials(tiny, tmp_path):
    search, _, _ = begin(flat(tiny), tmp_path, value=lambda job: job.config.optimizer.lr)
    before = search.known_trials()
    exclude_trials(tmp_path / "tiny", [0, 5], "faulty")
    search, _, _ = begin(flat(tiny, run_cap=10), tmp_path)
    after = search.known_trials()
    assert search.left_out == {0, 5}
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        if number in (0, 5):
            assert (new.state, new.values, new.params) == (TrialState.FAIL, None, {})
        else:
            assert (new.state, new.values, new.params) == (old.state, old.values, old.params)
            assert new.intermediate_values == old.intermediate_values
            assert (new.datetime_start, new.datetime_complete) == (old.datetime_start, old.datetime_complete)
    include_trials(tmp_path / "tiny", [0, 5])
    search, _, _ = begin(flat(tiny), tmp_path)
    assert [(t.state, t.values, t.params) for t in search.known_trials()] == [
        (t.state, t.values, t.params) for t in before
    ]


def test_a_trial_in_mid_run_goes_on_inside_and_ends_outside(tiny, tmp_path):
    _, _, jobs = begin(flat(tiny), tmp_path, trials=3, finish=False)
    rate = jobs[-1].config.optimizer.lr
    search, _, jobs = begin(flat(tiny, high=1), tmp_path, trials=1, finish=False)
    assert (jobs[0].key, jobs[0].config.optimizer.lr) == ("trials/2", rate)
    narrow = flat(tiny, high=max(1.01e-3, rate * 0.99)) if rate > 1.1e-3 else flat(tiny, low=rate * 1.01)
    search, _, jobs = begin(narrow, tmp_path, trials=1)
    assert jobs[0].key == "trials/3"
    assert search.left_out >= {2}
    result = SweepFolder(tmp_path / "tiny").trial(2).result()
    assert (result.status, result.best) == ("stopped_by_user", {"epoch": 1, "val/accuracy": 0.5})
    search, _, _ = begin(flat(tiny), tmp_path)
    assert search.left_out == set()
    assert states(search)[2] == TrialState.PRUNED


def test_races_are_without_excluded_trials(tiny, tmp_path):
    asha = {"early_terminate": {"type": "asha", "rule": "stopping", "min_iter": 1, "eta": 2}}
    values = {"trials/0": 0.9, "trials/1": 0.5}
    begin(flat(tiny, **asha), tmp_path, trials=2, value=lambda job: values[job.key])
    _, scheduler, _ = begin(flat(tiny, **asha), tmp_path, trials=0)
    assert sorted(scheduler.seen) == ["trials/0", "trials/1"]
    exclude_trials(tmp_path / "tiny", [0], "leaked labels")
    _, scheduler, _ = begin(flat(tiny, **asha), tmp_path, trials=0)
    assert sorted(scheduler.seen) == ["trials/1"]


def test_a_grid_tries_the_points_that_no_trial_has(tiny, tmp_path):
    def grid(*widths):
        model = {"name": "mlp", "width": {"values": list(widths)}}
        drawn = {"model": model, "optimizer": {"name": "adam", "lr": {"values": [0.01, 0.1]}}}
        return tiny(method="grid", run_cap=None, compare=None, parameters=drawn)

    begin(grid(8, 16), tmp_path)
    _, _, jobs = begin(grid(8, 16, 32), tmp_path)
    assert [(job.config.model.width, job.config.optimizer.lr) for job in jobs] == [(32, 0.01), (32, 0.1)]
    exclude_trials(tmp_path / "tiny", [1], "x")
    search, _, jobs = begin(grid(8, 32), tmp_path)
    assert len(jobs) == 1
    excluded = SweepFolder(tmp_path / "tiny").trial(1).config()
    assert jobs[0].config.model.width == excluded.model.width
    assert search.finished


def test_a_point_of_a_grid_that_cannot_be_trained_is_not_tried_again(tiny, tmp_path):
    """It would take the place of a point that no trial has."""

    def grid(*rates):
        steps = {"nesterov": {"values": [False, True]}, "momentum": {"values": [0.9, 0.0, 0.5]}}
        sgd = {"name": "sgd", "lr": {"values": list(rates)}, **steps}
        return tiny(method="grid", run_cap=None, compare=None, parameters={"model": "mlp", "optimizer": sgd})

    search, _, jobs = begin(grid(0.1), tmp_path)
    assert (len(jobs), states(search).count(TrialState.FAIL)) == (5, 1)
    search, _, jobs = begin(grid(0.1, 0.2), tmp_path)
    assert [job.config.optimizer.lr for job in jobs] == [0.2] * 5
    assert states(search).count(TrialState.FAIL) == 2


def test_trials_of_an_earlier_sweep_stay_where_they_are_in_the_space(tiny, tmp_path):
    begin(flat(tiny), tmp_path)
    begin(flat(tiny).renamed("second"), tmp_path, trials=3, source=tmp_path / "tiny")
    middle = sorted(t.config().optimizer.lr for t in SweepFolder(tmp_path / "second").trials().values())[1]
    search, _, _ = begin(flat(tiny, high=middle).renamed("second"), tmp_path, trials=0)
    assert search.offset == 12
    assert len(search.left_out) == 1
    borrowed = search.study.get_trials()[:12]
    assert all((t.state == TrialState.COMPLETE) == bool(t.params) for t in borrowed)
    assert all(t.params["optimizer.lr"] <= middle for t in borrowed if t.params)
    search, _, _ = begin(flat(tiny).renamed("second"), tmp_path, trials=0)
    assert all(t.state == TrialState.COMPLETE for t in search.study.get_trials()[:12])


def test_what_is_outside_of_a_sweep_may_be_inside_of_another_one(tiny, tmp_path):
    begin(flat(tiny), tmp_path)
    middle = sorted(t.config().optimizer.lr for t in SweepFolder(tmp_path / "tiny").trials().values())[5]
    search, _, _ = begin(flat(tiny, high=middle), tmp_path, trials=0)
    assert len(search.left_out) == 6
    exclude_trials(tmp_path / "tiny", [0], "x")
    search, _, _ = begin(flat(tiny).renamed("second"), tmp_path, trials=0, source=tmp_path / "tiny")
    assert search.warm_start == (11, 11)


@pytest.mark.parametrize("again", ["changed", "unchanged"])
@pytest.mark.parametrize("moment", ["before sweep.yaml", "before study.journal", "after study.journal"])
def test_killed_in_the_middle_of_a_change(tiny, tmp_path, moment, again):
    """The old or the new state, whichever file is started again; the same numbers and values in both."""
    before = [trial.params for trial in begin(flat(tiny), tmp_path)[0].known_trials()]
    when, target = moment.split()
    changed = flat(tiny, high=1, run_cap=14)

    def start_and_die():
        replace = os.replace

        def killed(source, destination):
            if os.path.basename(destination) == target:
                if when == "after":
                    replace(source, destination)
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, destination)

        os.replace = killed
        begin(changed, tmp_path)

    process = multiprocessing.get_context("fork").Process(target=start_and_die)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    sweep, cap, high = (changed, 14, 1.0) if again == "changed" else (flat(tiny), 12, 0.1)
    search, _, _ = begin(sweep, tmp_path)
    known = search.known_trials()
    assert [trial.params for trial in known[:12]] == before
    assert len(known) == cap
    assert {trial.distributions["optimizer.lr"].high for trial in known} == {high}
    assert search.left_out == set()
    assert list((tmp_path / "tiny").glob(".study.journal.*")) == []
