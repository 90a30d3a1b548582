from types import SimpleNamespace

import pytest
import torch
import yaml

from hwcls.config.space import Fixed
from hwcls.errors import UserError
from hwcls.results.confirm import looks, plan
from hwcls.results.load import load_results
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.run import confirm_plan, confirm_run
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.left_out import exclude
from hwcls.tracking.records import Result

ONE = Resources(1, 1, 0.0, 1)
SEARCHED = {0: ("mlp", 0.5), 1: ("cnn", 0.6), 2: ("mlp", 0.9), 3: ("cnn", 0.7), 4: ("mlp", 0.8), 5: ("cnn", 0.65)}


@pytest.fixture
def folder(tiny, tmp_path):
    """A searched sweep: three trials of each alternative, and a failed one."""
    return write_searched(tiny(confirm={"top": 2, "seeds": 3}), tmp_path)


def write_searched(sweep, path, settings=None):
    found = SweepFolder(path / "2024")  # a name that YAML reads as a number
    for number, (label, value) in SEARCHED.items():
        trial, lr = found.trial(number), (settings or {}).get(number, 0.2 + number)
        trial.write_config(sweep.trial(Fixed({"model": label}), seed=number))
        trial.write_result(Result("complete", {"epoch": 1, "val/accuracy": value}, label, {"lr": lr}, 1.0))
    found.trial(6).write_config(sweep.trial(Fixed({"model": "mlp"})))
    found.trial(6).write_result(Result("failed", None, "mlp", {}, 1.0, error="x"))
    (found.path / "sweep.yaml").write_text(yaml.safe_dump(sweep.resolved()))
    return sweep, found


def planned(sweep, found):
    return plan.plan_confirm(load_results(found.path), sweep.config.confirm)


def end(found, run, value=0.5, status="complete", test=None):
    """Write the result of a planned run, as the driver does."""
    folder = found.confirm_run(run.label, run.seed)
    purpose = {"trial": run.trial} | ({"role": run.role} if run.role else {})
    if run.role:
        folder.write_purpose(purpose)
    folder.write_config(found.trial(run.trial).config().model_copy(update={"seed": run.seed}))
    best = {"epoch": 1, "val/accuracy": value} if status == "complete" else None
    extra = purpose | ({"test": {"test/accuracy": test}} if test else {})
    folder.write_result(Result(status, best, run.label, {}, 1.0, extra=extra))


def places(runs):
    return [(run.label, run.trial, run.role) for run in runs]


def test_the_top_is_picked_on_two_seeds_each_and_the_winner_reported_on_others(folder):
    """2 x 2 + 3 = 7 runs of each alternative, no seed twice."""
    sweep, found = folder
    first = planned(sweep, found)
    picks = [("mlp", 2), ("mlp", 2), ("mlp", 4), ("mlp", 4), ("cnn", 3), ("cnn", 3), ("cnn", 5), ("cnn", 5)]
    assert places(first.runs) == [(*pick, "pick") for pick in picks]
    assert (first.winners, first.waiting, first.total) == ({}, {"mlp": 3, "cnn": 3}, 14)
    assert planned(sweep, found) == first
    for run in first.runs:
        end(found, run, {2: 0.7, 4: 0.8, 3: 0.9, 5: 0.4}[run.trial])
    then = planned(sweep, found)
    assert (then.winners, then.waiting, then.total) == ({"mlp": 4, "cnn": 3}, {}, 14)
    assert places(then.runs[8:]) == [("mlp", 4, "report")] * 3 + [("cnn", 3, "report")] * 3
    assert len({run.seed for run in then.runs}) == 14
    assert min(run.seed for run in then.runs) >= 10_000_000


def test_a_single_candidate_needs_no_picks(tiny, tmp_path):
    sweep, found = write_searched(tiny(confirm={"top": 1, "seeds": 2}), tmp_path)
    runs = planned(sweep, found).runs
    assert places(runs) == [("mlp", 2, "report")] * 2 + [("cnn", 3, "report")] * 2
    assert [run.seed for run in runs[:2]] == [10_002_000, 10_002_001]  # as before there were roles


def test_candidates_have_distinct_settings(tiny, tmp_path):
    """Trials 2 and 4 drew the same: the third best takes part in their place. A seed is no setting."""
    sweep, found = write_searched(tiny(confirm={"top": 2, "seeds": 3}), tmp_path, {2: 0.1, 4: 0.1})
    assert {run.trial for run in planned(sweep, found).runs if run.label == "mlp"} == {2, 0}
    for number, seed in ((3, 7), (5, 8)):
        result = found.trial(number).result()
        found.trial(number).write_result(Result(**{**vars(result), "parameters": {"lr": 0.1, "seed": seed}}))
    assert {run.trial for run in planned(sweep, found).runs if run.label == "cnn"} == {3, 1}


def test_equal_picks_go_to_the_better_of_the_search_and_failures_count_against(folder):
    sweep, found = folder
    for run in planned(sweep, found).runs:
        failed = run.trial == 3 and run.seed % 2
        end(found, run, 0.9 if run.trial == 3 else 0.5, status="failed" if failed else "complete")
    assert planned(sweep, found).winners == {"mlp": 2, "cnn": 5}


def test_without_a_complete_pick_there_is_no_winner(folder):
    sweep, found = folder
    for run in planned(sweep, found).runs:
        end(found, run, status="failed" if run.label == "mlp" else "complete")
    then = planned(sweep, found)
    assert (set(then.winners), then.waiting, then.total) == ({"cnn"}, {}, 8 + 3)


def test_the_picks_that_there_are_compete_with_those_of_a_longer_search(folder):
    sweep, found = folder
    for run in planned(sweep, found).runs:
        end(found, run, 0.9 if run.trial == 4 else 0.5)
    for number in (7, 8):
        found.trial(number).write_config(sweep.trial(Fixed({"model": "mlp"})))
        best = {"epoch": 1, "val/accuracy": 0.99}
        found.trial(number).write_result(Result("complete", best, "mlp", {"lr": number}, 1.0))
    then = planned(sweep, found)
    assert [run.trial for run in then.runs if run.label == "mlp" and run.role == "pick"] == [7, 7, 8, 8, 2, 2, 4, 4]
    assert then.waiting == {"mlp": 3}
    for run in then.runs:
        if run.trial in (7, 8):
            end(found, run, 0.8)
    assert planned(sweep, found).winners["mlp"] == 4


def test_the_queue_trains_reports_once_the_picks_of_their_alternative_have_ended(folder):
    sweep, found = folder
    first = planned(sweep, found)
    for run in first.runs[1:]:
        end(found, run)
    queue = confirm_run.ConfirmQueue(sweep, found, ONE)
    assert not queue.finished
    what = "8 pick the winners on 2 seeds each, 6 report them on other seeds"
    assert confirm_run.describe_plan(queue) == f"14 runs, 7 of them done before: {what}"
    jobs = [queue.suggest(str(place))["job"] for place in range(4)]
    assert [job.extra for job in jobs] == [{"trial": 2, "role": "pick"}] + [{"trial": 3, "role": "report"}] * 3
    assert jobs[0].config.seed == first.runs[0].seed
    assert found.confirm_run("mlp", first.runs[0].seed).purpose() == {"trial": 2, "role": "pick"}
    assert queue.suggest("4") is None  # a pick trains
    end(found, first.runs[0])
    queue.on_trial_complete("0")
    jobs = [queue.suggest(str(place))["job"] for place in (4, 5, 6)]
    assert [job.extra for job in jobs] == [{"trial": 2, "role": "report"}] * 3
    assert queue.finished
    for trial_id in map(str, range(1, 7)):
        assert queue.suggest("7") is None  # what trains may bring more
        queue.on_trial_complete(trial_id)
    assert queue.suggest("7") == "FINISHED"


def test_weights_are_kept_for_what_is_scored(tiny, tmp_path):
    sweep, found = write_searched(tiny(confirm={"top": 2, "seeds": 1}, keep="none"), tmp_path)
    assert confirm_run.open_job(sweep, found, plan.PlannedRun("mlp", 2, 5, "pick"), ONE).keep == "none"
    assert confirm_run.open_job(sweep, found, plan.PlannedRun("mlp", 2, 6, "report"), ONE).keep == "best"


def test_only_reports_of_the_winner_are_scored(folder):
    sweep, found = folder
    for run in planned(sweep, found).runs:
        end(found, run, 0.9 if run.trial in (4, 5) else 0.5)
    for run in planned(sweep, found).runs:
        if run.role == "report" and run.seed % 1000:
            end(found, run)
    waiting = confirm_plan.unscored_runs(load_results(found.path), planned(sweep, found))
    reports = [(run.label, run.run.number, run.role) for run in waiting]
    assert reports == [("cnn", 5, "report")] * 2 + [("mlp", 4, "report")] * 2
    assert confirm_plan.is_incomplete(sweep, found.path)


def test_more_seeds_report_the_winners_once_the_planned_ones_are_done(folder):
    sweep, found = folder
    assert confirm_plan.add_seeds(found.path, 2).config.confirm.seeds == 3  # those that were asked for come first
    assert confirm_plan.waits_for_missing(found.path)
    for _ in range(2):
        for run in planned(sweep, found).runs:
            end(found, run, test=0.5 if run.role == "report" else None)
    assert not confirm_plan.waits_for_missing(found.path)
    again = confirm_plan.add_seeds(found.path, 2)
    assert (again.config.confirm.top, again.config.confirm.seeds) == (2, 5)
    assert confirm_plan.is_incomplete(again, found.path)
    ended = confirm_plan.ended_runs(load_results(found.path))
    new = [run for run in planned(again, found).runs if run.key not in ended]
    assert places(new) == [("mlp", 2, "report")] * 2 + [("cnn", 3, "report")] * 2
    assert again.config.name == found.path.name
    for run in new:
        end(found, run, test=0.5)
    assert yaml.safe_load((found.path / "sweep.yaml").read_text())["confirm"]["seeds"] == 3  # the file is run again
    assert confirm_plan.add_seeds(found.path, 2).config.confirm.seeds == 7


def test_what_cannot_be_confirmed(folder):
    sweep, found = folder
    with pytest.raises(UserError, match="no sweep here"):
        confirm_plan.add_seeds(found.path / "trials", 2)
    (found.path / "sweep.yaml").write_text(yaml.safe_dump({**sweep.resolved(), "confirm": None}))
    assert confirm_plan.add_seeds(found.path, 0).config.confirm.seeds == 5
    with pytest.raises(UserError, match="at least 2 seeds are needed"):
        confirm_plan.add_seeds(found.path, 1)
    found.trial(7).write_config(sweep.trial(Fixed({"model": "mlp"})))
    with pytest.raises(UserError, match="the search has not ended"):
        confirm_plan.add_seeds(found.path, 2)


def test_results_from_before_there_were_roles_continue_as_they_began(folder):
    """Every run of the top trials both chooses and reports."""
    sweep, found = folder
    old = [("mlp", 2, 10_002_000), ("mlp", 4, 10_004_000), ("cnn", 3, 10_003_000)]
    for label, trial, seed in old:
        end(found, plan.PlannedRun(label, trial, seed), 0.8 if trial == 4 else 0.5)
    then = planned(sweep, found)
    assert {run.role for run in then.runs} == {None}
    assert len(then.runs) == 2 * 2 * 3
    assert then.winners["mlp"] == 4
    assert confirm_run.open_job(sweep, found, then.runs[1], ONE).extra == {"trial": 2}
    waiting = confirm_plan.unscored_runs(load_results(found.path), then)
    assert {(run.label, run.run.number) for run in waiting} == {("mlp", 4), ("cnn", 3)}


def test_no_confirm_is_nothing_to_do(tiny, folder):
    _, found = folder
    assert not confirm_plan.is_incomplete(tiny(), found.path)


def look(sweep, found):
    """As before the scores on test."""
    results = load_results(found.path)
    looks.record_look(results, confirm_plan.unscored_runs(results, planned(sweep, found)))


def test_a_look_is_counted_before_the_scores_are_known(folder):
    """Once for each new set of seeds; a repeated start of the same is none."""
    sweep, found = folder
    for _ in range(2):
        for run in planned(sweep, found).runs:
            end(found, run)
    look(sweep, found)
    look(sweep, found)
    assert found.looks() == [{"mlp": 3, "cnn": 3}]
    for run in planned(sweep, found).runs:
        if run.role == "report":
            end(found, run, test=0.5)
    look(sweep, found)
    assert found.looks() == [{"mlp": 3, "cnn": 3}]
    sweep = confirm_plan.add_seeds(found.path, 2)
    for run in planned(sweep, found).runs[-8:]:
        if found.confirm_run(run.label, run.seed).result() is None:
            end(found, run)
    look(sweep, found)
    assert found.looks() == [{"mlp": 3, "cnn": 3}, {"mlp": 5, "cnn": 5}]
    (found.path / "looks.jsonl").unlink()  # as of a version that did not count: what was scored was looked at
    look(sweep, found)
    assert found.looks() == [{"mlp": 3, "cnn": 3}, {"mlp": 5, "cnn": 5}]


def test_there_is_no_verdict_on_one_alternative_or_one_seed():
    assert not looks.is_verdict({"mlp": 9})
    assert not looks.is_verdict({"mlp": 9, "cnn": 1})
    assert looks.is_verdict({"mlp": 2, "cnn": 2})


def test_another_winner_after_an_exclusion_is_another_look(folder):
    """With as many seeds as before: whoever excludes winners until one wins pays for each."""
    sweep, found = folder
    for _ in range(2):
        for run in planned(sweep, found).runs:
            end(found, run)
    look(sweep, found)
    for run in planned(sweep, found).runs:
        end(found, run, test=0.5 if run.role == "report" else None)
    winner = planned(sweep, found).winners["mlp"]
    exclude(found.trial(winner).path, "x")
    for _ in range(2):
        for run in planned(sweep, found).runs:
            if found.confirm_run(run.label, run.seed).result() is None:
                end(found, run)
    for _ in range(2):
        look(sweep, found)
    assert found.looks() == [{"mlp": 3, "cnn": 3}, {"mlp": 3, "cnn": 3}]


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_test_is_scored_where_trials_train(tiny, monkeypatch, share):
    """Without a share of a GPU it is the CPU, even where there is one."""
    devices = []

    def evaluate(config, weights, split, device):
        devices.append(device.type)
        return SimpleNamespace(values={}, labels=None, scores=None)

    monkeypatch.setattr("hwcls.inspection.evaluate.evaluate_weights", evaluate)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    config = tiny().trial(Fixed({}))
    confirm_run._evaluate(config, {}, b"", share > 0)
    assert devices == ["cuda" if share else "cpu"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if share:
        with pytest.raises(UserError, match="this trial has a GPU, but torch"):
            confirm_run._evaluate(config, {}, b"", True)
