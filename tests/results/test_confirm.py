"""Which confirm runs did what, which are missing, and how often the verdict was looked at."""

import json

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from hwcls.cli.main import app
from hwcls.results.compare import build_alternatives, build_summary
from hwcls.results.confirm import describe
from hwcls.results.confirm.describe import describe_confirm, describe_missing, describe_unconfirmed, name_look
from hwcls.results.confirm.missing import MissingRun, find_missing, resume_command
from hwcls.results.confirm.plan import FIRST_PICK_SEED, FIRST_SEED, confirm_winners, winner_runs
from hwcls.results.confirm.search_end import starts_no_more
from hwcls.results.load import load_results, mark_running
from hwcls.results.test_comparison import compare_confirmed

PICKS = {0: (0.70, 0.72), 2: (0.69, 0.71), 1: (0.8, 0.8), 3: (0.9, 0.6)}  # by trial


@pytest.fixture
def picked(results, tmp_path):
    """Two trials of each alternative, with picks; resnet's trial 0 and mlp's trial 1 have won."""
    sweep = results.sweep(tmp_path, run_cap=4, confirm={"top": 2, "seeds": 3})
    for number, values in PICKS.items():
        label = "resnet" if number % 2 == 0 else "mlp"
        results.trial(sweep.trial(number), [0.5, 0.7 - number / 100], label=label, lr=0.1 + number)
        for place, value in enumerate(values):
            run = sweep.confirm_run(label, FIRST_PICK_SEED + 1000 * number + place)
            run.write_purpose({"trial": number, "role": "pick"})
            results.trial(run, [0.4, value], label=label, trial=number, role="pick")
    return sweep


def report(results, sweep, label, trial, rate=0.8, seeds=3, **more):
    results.confirm(
        sweep, label, rate, trial=trial, seeds=seeds, first=FIRST_SEED + 1000 * trial, role="report", **more
    )


def test_only_runs_that_report_are_in_the_statistics(results, picked, tmp_path):
    report(results, picked, "resnet", 0, rate=0.9)
    report(results, picked, "mlp", 1, rate=0.7)
    loaded = load_results(tmp_path)
    assert confirm_winners(loaded) == {"resnet": 0, "mlp": 1}
    assert {label: [run.seed for run in runs] for label, runs in winner_runs(loaded).items()} == {
        "mlp": [FIRST_SEED + 1000, FIRST_SEED + 1001, FIRST_SEED + 1002],
        "resnet": [FIRST_SEED, FIRST_SEED + 1, FIRST_SEED + 2],
    }
    assert compare_confirmed(loaded).comparison.seeds == (3, 3)
    assert [row["confirm_runs"] for row in build_alternatives(loaded)] == [7, 7]
    assert describe_confirm(loaded)[0] == (
        "14 confirm runs complete: 8 picked the winners on validation and 6 report them on test, on other seeds."
    )
    assert find_missing(loaded) == []
    own = build_summary(loaded)["confirm"]
    assert (own["complete"], own["picks"], own["reports"], own["missing"]) == (14, 8, 6, [])
    assert not own["chosen_and_reported_on_the_same_runs"]


def test_runs_that_are_trained_and_not_scored_are_called_so(results, picked, tmp_path):
    report(results, picked, "resnet", 0)
    report(results, picked, "resnet", 2)  # won once, before another seed of trial 0 was there
    run = picked.confirm_run("mlp", FIRST_SEED + 1000)
    run.write_purpose({"trial": 1, "role": "report"})
    results.trial(run, [0.5, 0.6], label="mlp", trial=1, role="report")
    assert describe_confirm(load_results(tmp_path))[0] == (
        "15 confirm runs complete: 8 picked the winners on validation, 3 report them on test, on other seeds,"
        " 1 is not scored on test and 3 are of trials that another one overtook."
    )
    results.trial(picked.trial(3), [0.3], label="resnet", status=None)  # more trials since, which still run
    assert "1 is not scored on test and 3 are" in describe_confirm(load_results(tmp_path))[0]


def test_the_last_winner_stands_until_another_one_is_scored(results, picked, tmp_path):
    report(results, picked, "resnet", 2)  # has won once
    assert confirm_winners(load_results(tmp_path)) == {"resnet": 2}
    assert {run.trial for run in find_missing(load_results(tmp_path)) if run.label == "resnet"} == {0}
    report(results, picked, "resnet", 0)
    assert confirm_winners(load_results(tmp_path)) == {"resnet": 0}


def test_runs_that_failed_were_interrupted_or_never_began_are_missing(results, picked, tmp_path):
    report(results, picked, "resnet", 0, seeds=2)
    results.trial(picked.confirm_run("resnet", FIRST_SEED + 2), [0.1], status="failed", error="no memory", trial=0)
    results.trial(picked.confirm_run("mlp", FIRST_SEED + 1000), [0.5, 0.6], label="mlp", status=None)
    results.trial(picked.confirm_run("mlp", FIRST_SEED + 1001), [], label="mlp", status=None)
    loaded = load_results(tmp_path)
    found = find_missing(loaded)
    assert [(run.label, run.seed, run.reason, run.failed) for run in found] == [
        ("resnet", FIRST_SEED + 2, "failed: no memory", True),
        ("mlp", FIRST_SEED + 1000, "not finished, epoch 2", False),
        ("mlp", FIRST_SEED + 1001, "not started", False),
        ("mlp", FIRST_SEED + 1002, "not started", False),
    ]
    assert build_alternatives(loaded)[0]["confirm_runs"] == 4 + 2
    assert resume_command(loaded, found) == f"hwcls confirm {tmp_path}"
    assert resume_command(loaded, found[:1]) == f"hwcls confirm {tmp_path} --add-seeds 1"
    text = describe_confirm(loaded)[1]
    assert text.startswith(
        "4 confirm runs are missing: 1 report of resnet, trial 0 (seed 10000002): failed: no memory;"
    )
    assert "2 reports of mlp, trial 1 (seeds 10001001, 10001002): not started." in text
    assert text.endswith(f"Unless the sweep is running, train those that did not fail with: hwcls confirm {tmp_path}")
    printed = CliRunner().invoke(app, ["compare", str(tmp_path)]).stdout
    assert "4 confirm runs are missing" in printed
    own = json.loads(CliRunner().invoke(app, ["compare", str(tmp_path), "--json"]).stdout)["confirm"]
    assert (own["complete"], len(own["missing"]), own["command"]) == (10, 4, f"hwcls confirm {tmp_path}")


@pytest.mark.parametrize(
    ("failed", "words"),
    [
        ([False], "it"),
        ([False, False], "them"),
        ([True, False], "the one that did not fail"),
        ([True, False, False], "those that did not fail"),
    ],
)
def test_what_is_trained_again_is_named_by_its_number(failed, words):
    missing = [MissingRun("mlp", 1, FIRST_SEED + i, "report", "", one) for i, one in enumerate(failed)]
    assert describe._which(missing) == words


def test_a_failed_report_whose_place_another_seed_took_comes_without_a_command(results, picked, tmp_path):
    report(results, picked, "mlp", 1, seeds=4)
    report(results, picked, "resnet", 0, seeds=4)
    results.trial(picked.confirm_run("resnet", FIRST_SEED + 1), [0.1], status="failed", error="no memory", trial=0)
    added = {"when": "2026-01-02T03:04:05", "changed": [{"key": "confirm.seeds", "old": "3", "new": "4"}]}
    results.sweep(tmp_path, run_cap=4, confirm={"top": 2, "seeds": 4}, **{"x-changes": {"log": [added]}})
    (missing,) = find_missing(load_results(tmp_path))
    assert not missing.replaced  # the user asks for four in the file
    log = {"log": [{**added, "by": "hwcls confirm"}]}
    results.sweep(tmp_path, run_cap=4, confirm={"top": 2, "seeds": 4}, **{"x-changes": log})
    loaded = load_results(tmp_path)
    (missing,) = find_missing(loaded)
    assert (missing.label, missing.failed, missing.replaced) == ("resnet", True, True)
    assert resume_command(loaded, [missing]) is None
    assert describe_missing(loaded) == (
        "1 confirm run is missing: 1 report of resnet, trial 0 (seed 10000001): failed: no memory."
        " The winner has the 3 reports that were asked for."
    )
    results.sweep(tmp_path, run_cap=4, confirm={"top": 2, "seeds": 4})  # four were asked for
    again = f"hwcls confirm {tmp_path} --add-seeds 1"
    assert describe_missing(load_results(tmp_path)).endswith(f" Another seed takes its place with: {again}")


def test_a_single_missing_run_is_in_the_singular(results, picked, tmp_path):
    report(results, picked, "mlp", 1)
    report(results, picked, "resnet", 0, seeds=2)
    with FileLock(tmp_path / ".lock"):  # as a driver holds it
        found = mark_running(load_results(tmp_path))
    assert describe_missing(found).endswith("The running command completes it.")
    text = describe_missing(load_results(tmp_path))
    assert text.endswith(f"Unless the sweep is running, train it with: hwcls confirm {tmp_path}")


def test_what_a_running_command_trains_needs_no_other_command(results, picked, tmp_path):
    report(results, picked, "resnet", 0, seeds=2)
    results.trial(picked.confirm_run("mlp", FIRST_SEED + 1000), [0.5, 0.6], label="mlp", status=None)
    results.trial(picked.confirm_run("mlp", FIRST_SEED + 1001), [], label="mlp", status=None)
    with FileLock(tmp_path / ".lock"):  # as a driver holds it
        own = CliRunner().invoke(app, ["compare", str(tmp_path), "--json"])
        text = " ".join(CliRunner().invoke(app, ["compare", str(tmp_path)]).stdout.split())
        found = mark_running(load_results(tmp_path))
        assert [run.run.status for run in found.confirm if not run.run.ended] == ["running"] * 2
        reasons = [run["reason"] for run in json.loads(own.stdout)["confirm"]["missing"]]
    assert reasons == ["not started", "not finished, epoch 2", "started", "not started"]
    assert json.loads(own.stdout)["confirm"]["command"] is None
    assert "hwcls confirm" not in text
    assert "The running command completes them." in text
    ended = " ".join(CliRunner().invoke(app, ["compare", str(tmp_path)]).stdout.split())
    assert f"Unless the sweep is running, train them with: hwcls confirm {tmp_path}" in ended


def test_reports_wait_for_a_winner(results, picked, tmp_path):
    (picked.confirm_run("mlp", FIRST_PICK_SEED + 1000).path / "result.json").unlink()
    report(results, picked, "resnet", 0)
    found = find_missing(load_results(tmp_path))
    assert [(run.label, run.trial, run.role) for run in found] == [("mlp", 1, "pick")] + [("mlp", None, "report")] * 3
    assert (
        "3 reports of the winner of mlp, which is not picked yet: not started"
        in describe_confirm(load_results(tmp_path))[1]
    )


def test_nothing_is_missing_while_the_search_runs(results, tmp_path):
    sweep = results.sweep(tmp_path, run_cap=2, confirm={"top": 1, "seeds": 2})
    results.trial(sweep.trial(0), [0.5])
    assert describe_confirm(load_results(tmp_path)) == []
    results.trial(sweep.trial(1), [0.5], label="mlp")
    assert [run.reason for run in find_missing(load_results(tmp_path))] == ["not started"] * 4
    results.confirm(sweep, "resnet", 0.8, seeds=1, first=FIRST_SEED, role="report")
    (text, missing) = describe_confirm(load_results(tmp_path))
    assert text == "1 confirm run complete: 1 reports the winners on test."
    assert missing.startswith("3 confirm runs are missing")
    assert missing.endswith(f"not started. Unless the sweep is running, train them with: hwcls confirm {tmp_path}")
    results.trial(sweep.trial(2), [0.5], status=None)  # the search goes on: hwcls confirm would refuse to start
    assert describe_confirm(load_results(tmp_path)) == [text]


def test_results_of_before_say_that_choice_and_report_share_their_runs(results, tmp_path):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.8, trial=0)
    assert describe_confirm(load_results(tmp_path)) == ["5 confirm runs complete: they report the winners on test."]
    results.confirm(sweep, "resnet", 0.8, trial=4, first=2000)
    (text,) = describe_confirm(load_results(tmp_path))
    assert text == (
        "10 confirm runs complete; the winners were chosen and reported on the same runs: slightly optimistic."
    )


def test_a_later_trial_that_is_ahead_of_the_winner_comes_with_the_command_that_takes_it_in(results, picked, tmp_path):
    report(results, picked, "resnet", 0)
    report(results, picked, "mlp", 1)
    results.sweep(tmp_path, run_cap=5)  # a longer search, by a file without confirm
    results.trial(picked.trial(4), [0.5, 0.99], label="mlp")
    sweep = load_results(tmp_path)
    text = (
        "Ahead of the confirmed winner in the search, and without a confirm run yet: trial 4 of mlp."
        f" Take it in with: hwcls confirm {tmp_path}"
    )
    assert describe_unconfirmed(sweep) == text
    assert describe_unconfirmed(sweep) in describe_confirm(sweep)
    assert describe_unconfirmed(mark_running(sweep)) == ""
    results.trial(picked.trial(4), [0.5, 0.99], label="mlp", status="stopped_by_user")  # which is never confirmed
    assert describe_unconfirmed(load_results(tmp_path)) == ""
    results.trial(picked.trial(5), [0.5, 0.98], label="mlp")  # the next best can be
    assert describe_unconfirmed(load_results(tmp_path)) == text.replace("trial 4", "trial 5")
    results.trial(picked.trial(4), [0.5, 0.99], label="mlp")
    results.trial(picked.trial(6), [0.5], label="mlp", status=None)  # `hwcls confirm` would refuse: the search goes on
    assert describe_unconfirmed(load_results(tmp_path)) == ""


def test_a_look_is_named_with_its_level(results, picked, tmp_path):
    report(results, picked, "resnet", 0)
    report(results, picked, "mlp", 1)
    for seeds in (3, 5, 9):
        picked.add_look({"resnet": seeds, "mlp": seeds}, {})
    loaded = load_results(tmp_path)
    found = compare_confirmed(loaded).comparison
    assert (found.look, found.alpha) == (3, pytest.approx(0.1 / 27))
    assert describe_confirm(loaded)[-1] == (
        "Third look at the verdicts, with 3, 5 and 9 seeds each: significant is p below 0.0037. Each look"
        " is one more chance of a false verdict, so all of them share 0.05 (alpha spending): each takes two thirds"
        " of what is left."
    )
    own = build_summary(loaded)["confirm"]
    assert (own["look"], len(own["looks"]), own["alpha"]) == (3, 3, pytest.approx(0.1 / 27))
    for _ in range(2):  # a look is a verdict on new seeds, not a reader
        CliRunner().invoke(app, ["report", str(tmp_path)])
    assert len(load_results(tmp_path).looks) == 3
    assert "Third look" in (tmp_path / "report.html").read_text("utf-8")


def test_damaged_looks_are_left_out(results, tmp_path):
    sweep = results.full(tmp_path)
    lines = [
        '{"seeds": {"a": 3, "b": 3}}',
        '{"seeds": {"a": "x"}}',
        '{"seeds": {}}',
        '{"seeds": 3}',
        "[]",
        '{"seeds": {"a": 5',
    ]
    (sweep.path / "looks.jsonl").write_text("\n".join(lines))
    assert load_results(tmp_path).looks == ({"a": 3, "b": 3},)
    results.sweep(tmp_path, run_cap="x", confirm=[1])
    assert describe_confirm(load_results(tmp_path)) == []


def test_looks_have_names():
    assert [name_look(look) for look in (1, 10, 11, 21, 32, 113)] == ["first", "tenth", "11th", "21st", "32nd", "113th"]


@pytest.mark.parametrize(
    ("trials", "total", "spent", "budget", "ended"),
    [
        (3, 3, 0.0, None, True),
        (2, 3, 99.0, None, False),
        (2, None, 60.0, 60.0, True),
        (2, None, 60.0, 61.0, False),
        (2, 3, 60.0, 60.0, True),  # whichever of the two comes first
        (3, 3, 1.0, 60.0, True),
        (3, None, 60.0, None, False),
    ],
)
def test_the_search_ends_by_its_trials_or_by_its_budget(trials, total, spent, budget, ended):
    assert starts_no_more(trials, total, spent, budget) == ended
