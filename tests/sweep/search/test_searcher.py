"""The search without Tune: the trials it draws, what it reports to Optuna, and how it resumes."""

import math
from collections import Counter
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from hwcls.errors import UserError
from hwcls.results.sweeps.summary import summarize_sweep
from hwcls.sweep import driver
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.preflight.validate import Options
from hwcls.sweep.run.reconcile import reconcile
from hwcls.sweep.search.journal import Journal
from hwcls.sweep.search.messages import JOB, EpochReport
from hwcls.sweep.search.pruning import build_scheduler
from hwcls.sweep.search.searcher import FairSearch, count_untrainable
from hwcls.sweep.storage.changes.exclusion import exclude_trials, include_trials
from hwcls.sweep.storage.environment import write_search_end
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.tracking.records import Result
from tests.sweep.changing import begin

ONE = Resources(1, 1, 0.0, 1)


@pytest.fixture
def search(tiny, tmp_path):
    def build(**changes):
        folder = SweepFolder(tmp_path / "out")
        return FairSearch(tiny(**changes), folder, ONE, {})

    return build


def result(epoch, value, epochs=3, **more):
    return EpochReport(epoch, epochs, value, -math.inf if value is None else value, **more).to_result()


def ask(search, trial_id):
    """The next job; FINISHED where there is none."""
    config = search.suggest(trial_id)
    return config if config == Searcher.FINISHED else config[JOB]


def test_a_renamed_sweep_has_its_study(search):
    first = search()
    ask(first, "a")
    again = search(name="renamed")
    assert [trial.number for trial in again.unfinished] == [0]
    assert again.study.study_name == first.study.study_name == "tiny"


def drive(search, trials=None, value=0.5):
    """Run trials until the search ends; returns the jobs."""
    jobs = []
    while trials is None or len(jobs) < trials:
        job = ask(search, str(len(jobs)))
        if job == Searcher.FINISHED:
            break
        search.on_trial_result(str(len(jobs)), result(1, value))
        search.on_trial_complete(str(len(jobs)), result(3, value))
        jobs.append(job)
    return jobs


@pytest.mark.parametrize("method", ["auto", "tpe", "gp", "random"])
def test_every_alternative_gets_the_same_number_of_trials(search, method):
    jobs = drive(search(method=method, run_cap=14))
    assert Counter(job.label for job in jobs) == {"mlp": 7, "cnn": 7}
    assert [job.key for job in jobs] == [f"trials/{i}" for i in range(14)]
    assert len({(job.label, job.parameters["lr"]) for job in jobs}) == 14


def test_tpe_moves_towards_what_is_better(search):
    found = search(method="tpe", run_cap=40, compare=None, parameters={"model": "mlp"})
    rates = []
    for i in range(40):
        job = ask(found, str(i))
        rate = job.config.optimizer.lr
        rates.append(rate)
        found.on_trial_complete(str(i), result(3, -abs(rate - 0.02)))
    assert sum(abs(r - 0.02) for r in rates[-10:]) < sum(abs(r - 0.02) for r in rates[:10])


def test_optuna_gets_the_state_in_which_each_trial_ended(search):
    found = search(run_cap=6)
    for i in range(6):
        ask(found, str(i))
    found.on_trial_result("0", result(1, 0.1))
    found.on_trial_complete("0", result(3, 0.3))
    found.on_trial_result("1", result(1, 0.1))
    found.on_trial_complete("1", result(2, 0.2))  # stopped early
    found.on_trial_complete("2", error=True)
    found.on_trial_complete("3", result(2, None, failure="the loss is not finite"))
    states = [trial.state for trial in found.study.trials]
    assert states[:4] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.FAIL]
    assert found.study.trials[0].intermediate_values == {1: 0.1, 3: 0.3}
    assert found.study.trials[1].intermediate_values == {1: 0.1, 2: 0.2}
    assert (found.study.trials[0].value, found.study.trials[1].value) == (0.3, 0.2)
    assert states[4:] == [TrialState.RUNNING] * 2


def test_a_restart_resumes_running_trials(search):
    first = search(run_cap=6)
    before = [ask(first, str(i)) for i in range(3)]
    first.on_trial_complete("0", result(3, 0.5))
    again = search(run_cap=6)
    jobs = [ask(again, str(i)) for i in range(5)]
    assert [job.key for job in jobs] == ["trials/1", "trials/2", "trials/3", "trials/4", "trials/5"]
    assert [job.config for job in jobs[:2]] == [job.config for job in before[1:]]
    assert ask(again, "x") == Searcher.FINISHED
    assert Counter(trial.params["model"] for trial in again.study.trials) == {"mlp": 3, "cnn": 3}


@pytest.mark.parametrize("method", ["auto", "tpe", "gp", "random"])
def test_a_restart_draws_nothing_twice(search, method):
    drive(search(method=method, run_cap=14), trials=8)
    drive(search(method=method, run_cap=14))
    trials = search(method=method, run_cap=14).study.trials
    assert len(trials) == 14
    assert len({(trial.params["model"], trial.params["optimizer.lr"]) for trial in trials}) == 14


def test_random_draws_are_the_same_with_and_without_a_restart(search, tmp_path):
    drive(search(run_cap=6), trials=3)
    drive(search(run_cap=6))
    restarted = [trial.params for trial in search(run_cap=6).study.trials]
    (tmp_path / "out" / "study.journal").unlink()
    for config in tmp_path.glob("out/trials/*/config.yaml"):
        config.unlink()
    drive(search(run_cap=6))
    assert [trial.params for trial in search(run_cap=6).study.trials] == restarted


@pytest.mark.parametrize("asked", [False, True])
def test_random_draws_are_the_same_after_a_crash_before_one(search, tmp_path, asked):
    once = [job.parameters for job in drive(search(method="random", run_cap=4))]
    (tmp_path / "out").rename(tmp_path / "uninterrupted")
    before = search(method="random", run_cap=4)
    drive(before, trials=1)
    before._pin_next()
    if asked:
        before.study.ask()
    drive(search(method="random", run_cap=4))
    folders = SweepFolder(tmp_path / "out").trials().values()
    assert [folder.config().optimizer.lr for folder in folders] == [one["lr"] for one in once]


def test_an_alternative_without_a_value_gets_its_share(search):
    jobs = drive(search(compare="clip", run_cap=6, parameters={"model": "mlp", "clip": {"values": [None, 1.0]}}))
    assert [job.config.clip for job in jobs] == [None, 1.0] * 3
    assert [job.label for job in jobs] == ["None", "1.0"] * 3


def test_a_partial_journal_line_is_cut(search, tmp_path):
    drive(search(run_cap=6), trials=2)
    journal = tmp_path / "out" / "study.journal"
    with open(journal, "ab") as file:
        file.write(b'{"op_code": 4, "worker')
    assert len(drive(search(run_cap=6))) == 4
    assert len(search(run_cap=6).study.trials) == 6


def test_grid_runs_every_point_once(search):
    model = {"choice": {"mlp": {"width": {"values": [8, 16, 32]}}, "cnn": {"name": "simple_cnn"}}}
    changes = {
        "method": "grid",
        "run_cap": None,
        "parameters": {"model": model, "optimizer": {"name": "adam", "lr": 0.01}},
    }
    found = search(**changes)
    assert found.total == 4
    drive(found, trials=2)
    drive(search(**changes))
    params = [trial.params for trial in search(**changes).study.trials]
    assert sorted(map(str, params)) == sorted(map(str, search(**changes).sweep.grid))


def test_a_grid_ends_when_every_point_was_tried(tiny, tmp_path):
    """One that was excluded, tried again and included again is there twice."""
    rates = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]
    parameters = {"model": "mlp", "optimizer": {"name": "adam", "lr": {"values": rates}}}
    sweep = tiny(method="grid", run_cap=None, compare=None, parameters=parameters)
    path, tried = tmp_path / sweep.config.name, []
    tried += begin(sweep, tmp_path, trials=4)[2]
    exclude_trials(path, [0], "a doubt")
    tried += begin(sweep, tmp_path, trials=2)[2]
    include_trials(path, [0])
    assert summarize_sweep(path).state == "interrupted"
    assert not driver._is_finished(sweep, SweepFolder(path))
    search, _, jobs = begin(sweep, tmp_path)
    tried += jobs
    assert sorted(job.parameters["lr"] for job in tried) == [0.01, *rates]
    assert search.finished
    assert driver._is_finished(sweep, SweepFolder(path))
    assert summarize_sweep(path).state == "finished"


def test_first_settings_come_first(search):
    found = search(first=[{"model": "cnn", "optimizer.lr": 0.03}, {"optimizer.lr": 0.05}])
    jobs = drive(found)
    assert jobs[0].parameters == {"model": "cnn", "lr": 0.03}
    assert jobs[1].parameters == {"model": "mlp", "lr": 0.05}
    assert Counter(job.label for job in jobs) == {"mlp": 2, "cnn": 2}


def test_a_time_budget_is_shared_by_seconds_and_ends(search, monkeypatch):
    """Trials of one epoch: Tune passes their only result to on_trial_complete."""
    clock = [1000.0]
    monkeypatch.setattr("hwcls.sweep.search.spending.time.monotonic", lambda: clock[0])
    seconds = {"mlp": 1.0, "cnn": 3.0}
    spent = Counter()
    found = search(run_cap=None, budget=100)
    for i in range(1000):
        job = ask(found, str(i))
        if job == Searcher.FINISHED:
            break
        clock[0] += seconds[job.label]
        spent[job.label] += seconds[job.label]
        found.on_trial_complete(str(i), result(3, 0.5, seconds=seconds[job.label]))
    assert 100 <= sum(spent.values()) <= 103
    assert abs(spent["mlp"] - spent["cnn"]) <= 3


def test_failing_trials_use_up_a_time_budget_too(search, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("hwcls.sweep.search.spending.time.monotonic", lambda: clock[0])
    found = search(run_cap=None, budget=10)
    for i in range(20):
        if ask(found, str(i)) == Searcher.FINISHED:
            break
        clock[0] += 1
        found.on_trial_complete(str(i), error=True)
    assert i == 10


@pytest.mark.parametrize("share", ["epochs", "seconds"])
def test_an_alternative_that_always_fails_gets_no_more_than_its_turn(search, share):
    """A trial without an epoch counts as much as the mean of the others, also after a restart."""
    found, labels = search(run_cap=20, share=share), Counter()
    for i in range(20):
        job = ask(found, str(i))
        labels[job.label] += 1
        if job.label == "cnn":
            failure = result(0, None, seconds=0.1, failure="an error of the model's code")
            found.on_trial_complete(str(i), None if i % 4 else failure, error=bool(i % 4))
            continue
        for epoch in (1, 2, 3):
            found.folder.trial(i).append({"epoch": epoch, "val/accuracy": 0.5, "seconds": 10.0})
            found.on_trial_result(str(i), result(epoch, 0.5, seconds=10.0))
        found.on_trial_complete(str(i), result(3, 0.5, failure="the loss is not finite"))
        if i in (7, 8):
            before, found = found, search(run_cap=20, share=share)
            assert found.spending.charged() == before.spending.charged()
            assert found.spending.charged()[share]["cnn"] > 0
    assert labels == {"mlp": 10, "cnn": 10}


def test_a_trial_that_failed_in_the_records_alone_counts_too(search):
    first = search(run_cap=8, share="seconds")
    ask(first, "0"), ask(first, "1")
    first.folder.trial(1).write_result(Result("failed", None, "cnn", {}, 0.0))  # killed before the study knew
    assert search(run_cap=8, share="seconds").spending.charged()["seconds"] == {"cnn": 1.0}


def test_a_time_budget_that_was_used_up_stays_so(search, tmp_path):
    """Builds and failed trials took time that no epoch has on record."""
    drive(search(run_cap=None, budget=100), trials=2)
    write_search_end(tmp_path / "out", 100.4, 0)
    again = search(run_cap=None, budget=100)
    assert again.finished
    assert ask(again, "x") == Searcher.FINISHED
    assert search(run_cap=None, budget=200).spending.before == 100.4


@pytest.mark.parametrize("method", ["random", "tpe", "auto", "grid"])
def test_a_sweep_with_a_combination_that_cannot_be_trained_is_finished(tiny, tmp_path, monkeypatch, method):
    optimizer = {"name": "sgd", "lr": 0.01, "momentum": {"values": [0.9, 0.0]}, "nesterov": {"values": [False, True]}}
    cap = None if method == "grid" else 12
    sweep = tiny(method=method, run_cap=cap, parameters={"optimizer": optimizer})
    jobs = begin(sweep, tmp_path)[2]
    again = begin(sweep, tmp_path)
    assert (again[0].finished, again[2]) == (True, [])  # as in a folder of a version that did not record them
    assert 0 < count_untrainable(again[0]) == sweep.total - len(jobs)
    folder = SweepFolder(tmp_path / sweep.config.name)
    start = driver._Start(sweep, Options(results=tmp_path), folder, None, None, None)
    monkeypatch.setattr("hwcls.sweep.run.confirm_run.run", lambda *arguments: False)
    assert not start._train(again[0], None, SimpleNamespace(show_ended=list), ONE)
    assert driver._is_finished(sweep, folder)
    found = summarize_sweep(folder.path)
    assert (found.state, found.progress.trials, found.progress.total) == ("finished", sweep.total, sweep.total)


def test_a_sweep_that_drew_nothing_that_can_be_trained_is_an_error(tiny, tmp_path):
    optimizer = {"name": "sgd", "lr": 0.01, "momentum": {"values": [0.9, 0.0]}, "nesterov": {"values": [False, True]}}
    for seed in range(50):
        changes = {"method": "random", "run_cap": 1, "compare": None, "parameters": {"optimizer": optimizer}}
        sweep = tiny(name=f"tiny{seed}", seed=seed, **changes)
        found, _, jobs = begin(sweep, tmp_path)
        if not jobs:
            break
    start = driver._Start(sweep, Options(results=tmp_path), SweepFolder(tmp_path / sweep.config.name), None, None, None)
    with pytest.raises(UserError, match="nothing was trained: 1 trial drew settings that cannot be trained together"):
        start._train(found, None, SimpleNamespace(show_ended=list), ONE)


def test_a_combination_that_cannot_be_built_is_a_failed_trial(search):
    optimizer = {"name": "sgd", "momentum": {"values": [0.9, 0.0]}, "nesterov": {"values": [False, True]}}
    found = search(method="random", run_cap=12, parameters={"optimizer": optimizer})
    jobs = drive(found)
    failed = [trial.state == TrialState.FAIL for trial in found.study.trials]
    drawn = [(trial.params["optimizer.momentum"], trial.params["optimizer.nesterov"]) for trial in found.study.trials]
    assert failed == [settings == (0.0, True) for settings in drawn]
    assert 0 < len(jobs) == failed.count(False) < len(failed) == 12


def test_what_was_pinned_before_a_crash_counts_for_its_alternative(search):
    first = search(run_cap=8)
    drive(first, trials=2)
    first._pin_next()  # killed before it is asked for
    again = search(run_cap=8)
    again.study.ask()  # killed before anything is drawn
    jobs = drive(search(run_cap=8))
    trials = search(run_cap=8).study.trials
    assert len(trials) == 8
    assert len(jobs) == 6
    assert Counter(trial.params["model"] for trial in trials) == {"mlp": 4, "cnn": 4}


def test_the_alternatives_of_a_grid_take_turns(search):
    widths = {"values": [8, 16, 32]}
    model = {"choice": {"mlp": {"width": widths}, "cnn": {"name": "simple_cnn", "width": widths}}}
    changes = {"model": model, "optimizer": {"name": "adam", "lr": 0.01}}
    jobs = drive(search(method="grid", run_cap=None, parameters=changes))
    assert [job.label for job in jobs] == ["mlp", "cnn"] * 3


def test_a_trial_that_has_ended_in_the_records_is_closed(search):
    first = search(run_cap=4)
    for i in range(3):
        ask(first, str(i))
    again = search(run_cap=4)
    first, second, _ = again.known_trials()
    again.close(first, Result("complete", {"epoch": 2, "val/accuracy": 0.9}, "mlp", {}, 1.0))
    again.close(second, Result("failed", None, "cnn", {}, 1.0))
    assert [t.state for t in again.study.trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING]
    assert again.study.trials[0].value == 0.9
    assert [trial.number for trial in again.unfinished] == [2]


def test_the_journal_is_an_ordinary_optuna_study(search, tmp_path):
    drive(search(run_cap=4))
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "out" / "study.journal"))
    study = optuna.load_study(study_name="tiny", storage=optuna.storages.JournalStorage(backend))
    assert [trial.value for trial in study.trials] == [0.5] * 4


def test_a_trial_is_safe_in_the_study_before_it_has_a_folder(search, tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(Journal, "sync", lambda journal: synced.append(len(list(tmp_path.glob("out/trials/*")))))
    drive(search(run_cap=5))
    assert synced == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("number", [4, 12])
def test_a_start_reads_the_study_once_and_no_config(search, monkeypatch, number):
    drive(search(run_cap=number))
    calls = []
    get_trials = optuna.Study.get_trials
    monkeypatch.setattr(optuna.Study, "get_trials", lambda *a, **k: calls.append(1) or get_trials(*a, **k))
    monkeypatch.setattr(TrialFolder, "settings", None)
    again = search(run_cap=number)
    reconcile(again.sweep, again.folder, again, build_scheduler(again.sweep))
    assert again.finished
    assert len(calls) == 2


def test_alternatives_can_share_epochs(search):
    """Trials of mlp are stopped after one epoch, those of cnn run all three: mlp gets three times as many."""
    found = search(run_cap=40, share="epochs")
    epochs = Counter()
    for i in range(40):
        job = ask(found, str(i))
        last = 1 if job.label == "mlp" else 3
        for epoch in range(1, last):
            found.on_trial_result(str(i), result(epoch, 0.5))
        found.on_trial_complete(str(i), result(last, 0.5))
        epochs[job.label] += last
    assert found.spending.epochs == epochs
    assert abs(epochs["mlp"] - epochs["cnn"]) <= 3
    assert found.spending.trials["mlp"] == pytest.approx(3 * found.spending.trials["cnn"], abs=2)
