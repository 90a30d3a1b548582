"""The Pareto front in the results: its points, which are confirmed, and where it is shown."""

import csv
import io
import json
import math
import random
import shutil
from dataclasses import replace

import pytest
from rich.console import Console

from hwcls.report.html.charts.front import fronts
from hwcls.report.html.page import render_page
from hwcls.report.terminal.leaderboard import print_leaderboard
from hwcls.results.answer import describe_answer
from hwcls.results.best.choose import choose_best
from hwcls.results.best.folder import update_best
from hwcls.results.compare import build_alternatives, build_leaderboard, build_summary, write_leaderboard
from hwcls.results.confirm.describe import describe_confirm
from hwcls.results.confirm.looks import record_look
from hwcls.results.confirm.missing import find_missing, resume_command
from hwcls.results.confirm.plan import FIRST_SEED, confirm_config, plan_confirm, point_runs
from hwcls.results.front.describe import build_front, describe_front
from hwcls.results.front.find import choose_points, find_front, volume
from hwcls.results.load import load_results, reload_confirm
from hwcls.results.test_comparison import compare_points

METRIC = {"name": "val/accuracy", "goal": "maximize", "costs": ["cost/latency"]}
TRIALS = {  # by number: accuracy, latency in ms
    0: (0.90, 9.0),
    1: (0.88, 2.0),
    2: (0.85, 4.0),  # trial 1 beats it
    3: (0.60, 1.0),
    4: (0.87, 1.9),
    5: (0.90, 9.0),  # as good as trial 0
    6: (0.50, None),  # its latency could not be measured
}


@pytest.fixture
def sweep(results, tmp_path):
    found = results.sweep(tmp_path, metric=METRIC, compare=None, run_cap=7, confirm={"top": 3, "seeds": 3})
    for number, (accuracy, latency) in TRIALS.items():
        cost = {"parameters": 100 * (1 + number), **({} if latency is None else {"latency_ms": latency})}
        status = "stopped" if number == 4 else "complete"
        lr = 0.1 if number in (0, 5) else 0.1 + number
        results.trial(found.trial(number), [0.3, accuracy], label=None, status=status, lr=lr, cost=cost)
    results.trial(found.trial(7), [0.2], label=None, status="failed", error="boom", cost={"latency_ms": 0.1})
    return found


def confirm(results, sweep, trial, rate, latency):
    first = FIRST_SEED + 1000 * trial
    results.confirm(sweep, "best", rate, trial=trial, seeds=3, first=first, role="report")
    for seed in range(3):
        path = sweep.confirm_run("best", first + seed).path / "result.json"
        values = json.loads(path.read_text())
        path.write_text(json.dumps({**values, "label": None, "cost": {"latency_ms": latency + seed}}))


def test_the_front_is_what_no_other_trial_beats(sweep, tmp_path):
    assert [(point.trial.number, point.values) for point in find_front(load_results(tmp_path))] == [
        (0, (0.90, 9.0)),
        (5, (0.90, 9.0)),
        (1, (0.88, 2.0)),
        (4, (0.87, 1.9)),
        (3, (0.60, 1.0)),
    ]


def test_a_sweep_with_one_metric_has_no_front(results, tmp_path):
    loaded = load_results(results.full(tmp_path).path)
    assert (find_front(loaded), describe_front(loaded), build_summary(loaded)["front"]) == ([], [], None)
    assert "front" not in build_leaderboard(loaded)[0]
    assert ">Pareto front</h2>" not in render_page(loaded)


def test_points_are_the_best_one_and_those_that_add_most_each_setting_once(sweep, tmp_path):
    loaded = load_results(tmp_path)
    assert [point.trial.number for point in choose_points(loaded, 1)] == [0]
    assert [point.trial.number for point in choose_points(loaded, 2)] == [0, 4]
    assert [point.trial.number for point in choose_points(loaded, 3)] == [0, 4, 3]
    assert [point.trial.number for point in choose_points(loaded, 9)] == [0, 1, 4, 3]


def test_volumes_of_two_and_three_dimensions():
    assert volume([(0.0, 1.0), (1.0, 0.0)], 2.0) == pytest.approx(3.0)
    assert volume([(0.0, 0.0, 1.0), (1.0, 1.0, 0.0)], 2.0) == pytest.approx(4.0 + 1.0)
    assert volume([(3.0, 0.0)], 2.0) == 0.0


def test_each_point_is_confirmed_on_fresh_seeds_and_none_picks_it(sweep, tmp_path):
    loaded = load_results(tmp_path)
    plan = plan_confirm(loaded, confirm_config(loaded))
    assert [(run.trial, run.seed, run.role) for run in plan.runs] == [
        (trial, FIRST_SEED + 1000 * trial + place, "report") for trial in (0, 4, 3) for place in range(3)
    ]
    assert (plan.winners, plan.points, plan.waiting) == ({"best": 0}, frozenset({0, 4, 3}), {})


def test_confirmed_points_have_intervals_on_test_everywhere(results, sweep, tmp_path):
    for trial, rate, latency in ((0, 0.9, 8.0), (4, 0.8, 1.5), (3, 0.6, 1.0)):
        confirm(results, sweep, trial, rate, latency)
    loaded = load_results(tmp_path)
    assert find_missing(loaded) == []
    assert describe_confirm(loaded) == ["9 confirm runs complete: 9 report 3 points of the Pareto front on test."]
    rows = {row.trial.number: row for row in build_front(loaded)}
    assert list(rows) == [0, 5, 1, 4, 3]
    assert [rows[number].runs for number in rows] == [3, 0, 0, 3, 3]
    assert rows[4].test.low < rows[4].mean < rows[4].test.high
    assert rows[4].costs == ((2.5, 1.5, 3.5),)
    board = {row["trial"]: row for row in build_leaderboard(loaded)}
    assert {number for number, row in board.items() if row["front"]} == {0, 5, 1, 4, 3}
    assert {number: row["confirmed"] for number, row in board.items() if row["confirmed"]} == {
        0: "winner",
        4: "point",
        3: "point",
    }
    assert board[4]["test/accuracy"] == pytest.approx(rows[4].mean)
    assert board[4]["latency_ms"] == 1.9
    written = list(csv.DictReader(write_leaderboard(loaded).read_text().splitlines()))
    assert [row["trial"] for row in written if row["front"] == "True"] == ["0", "5", "1", "4", "3"]
    summary = build_summary(loaded)["front"]
    assert summary["metrics"] == {"val/accuracy": "maximize", "cost/latency": "minimize"}
    assert [point["trial"] for point in summary["points"]] == [0, 5, 1, 4, 3]
    assert summary["points"][3]["confirmed"]["cost/latency"] == {"mean": 2.5, "low": 1.5, "high": 3.5}
    ((key, title, figure),) = fronts(loaded)
    assert (key, title) == ("front-0", "Accuracy and latency")
    marked = figure["data"][-1]
    assert (marked["name"], marked["x"]) == ("confirmed, on test", [9.0, 2.5, 2.0])
    assert all(value > 0 for value in (*marked["error_y"]["array"], *marked["error_x"]["array"]))
    sizes = dict(zip(figure["data"][0]["text"], figure["data"][0]["marker"]["size"], strict=True))
    assert {name for name, size in sizes.items() if size == max(sizes.values())} == {
        f"trial {number}" for number in (0, 5, 1, 4, 3)
    }
    assert ">Pareto front</h2>" in render_page(loaded)


def add_seed(results, sweep, trial, place):
    first = FIRST_SEED + 1000 * trial + place
    results.confirm(sweep, "best", 0.8, trial=trial, seeds=1, first=first, role="report")


def test_each_addition_of_seeds_to_points_of_one_alternative_is_a_look(results, sweep, tmp_path):
    for seeds in (2, 3, 4):
        for trial in (0, 4):
            for place in range(seeds):
                add_seed(results, sweep, trial, place)
        for _ in range(2):
            record_look(load_results(tmp_path))
    loaded = load_results(tmp_path)
    assert loaded.looks == tuple({"trial 0": seeds, "trial 4": seeds} for seeds in (2, 3, 4))
    assert compare_points(loaded).comparison.look == 3


def test_a_look_at_points_is_counted_before_their_scores_are_known(results, sweep, tmp_path):
    for trial in (0, 4):
        for place in range(2):
            add_seed(results, sweep, trial, place)
    loaded = load_results(tmp_path)
    waiting = [replace(run, test=None) for run in loaded.confirm]
    sweep.add_look({"best": 2, "other": 2}, {"best": 0, "other": 4})  # of a version that counted alternatives
    for _ in range(2):
        record_look(replace(loaded, confirm=tuple(waiting)), waiting)
    record_look(reload_confirm(loaded))
    assert sweep.looks()[1:] == [{"trial 0": 2, "trial 4": 2}]


def test_the_words_say_which_point_predict_uses(results, sweep, tmp_path):
    first, second = describe_front(load_results(tmp_path))
    assert first == (
        "The Pareto front of val/accuracy and cost/latency has 5 points, which none of 6 trials beats in all of them:"
        " 90.0 % at 9 ms (trial 0) to 60.0 % at 1 ms (trial 3)."
    )
    assert second.startswith("predict, evaluate and export use trial 0, the best by accuracy alone; for another point")
    confirm(results, sweep, 3, 0.99, 1.0)
    confirm(results, sweep, 0, 0.9, 8.0)
    assert choose_best(load_results(tmp_path)).run.number == 0  # however good another point is on test


def test_a_point_that_left_the_front_keeps_its_confirm_runs(results, sweep, tmp_path):
    confirm(results, sweep, 3, 0.6, 1.0)
    results.trial(sweep.trial(8), [0.3, 0.7], label=None, lr=9.0, cost={"latency_ms": 0.5})
    rows = build_front(load_results(tmp_path))
    assert [(row.trial.number, row.on_front, row.runs) for row in rows] == [
        (0, True, 0),
        (5, True, 0),
        (1, True, 0),
        (4, True, 0),
        (8, True, 0),
        (3, False, 3),
    ]


def test_trackers_find_the_front_in_a_file(sweep, tmp_path):
    assert sweep.front() is None
    update_best(tmp_path)
    assert sweep.front() == {0, 5, 1, 4, 3}


def test_the_front_is_exact_with_three_metrics_and_ties(results, tmp_path):
    goal = {"name": "cost/receptive_field", "goal": "maximize"}
    found = results.sweep(tmp_path, metric={**METRIC, "costs": ["cost/latency", goal]}, compare=None)
    draw = random.Random(0)
    values = [(draw.randint(1, 5) / 10, draw.randint(1, 5), draw.randint(1, 5)) for _ in range(40)]
    for number, (accuracy, latency, field) in enumerate(values):
        cost = {"latency_ms": latency, "receptive_field": field}
        results.trial(found.trial(number), [accuracy], label=None, cost=cost)
    losses = [(-accuracy, latency, -field) for accuracy, latency, field in values]
    beaten = {
        number
        for number, own in enumerate(losses)
        if any(other != own and all(a <= b for a, b in zip(other, own, strict=True)) for other in losses)
    }
    front = [point.trial.number for point in find_front(load_results(tmp_path))]
    assert set(front) == set(range(40)) - beaten
    assert front == sorted(front, key=lambda number: (losses[number], number))


def test_a_sweep_that_has_just_begun_is_shown(results, sweep, tmp_path):
    shutil.rmtree(tmp_path / "trials")
    results.trial(sweep.trial(0), [], label=None, status=None)
    loaded = load_results(tmp_path)
    assert build_leaderboard(loaded)[0]["latency_ms"] is None
    printed = io.StringIO()
    print_leaderboard(loaded, Console(file=printed, width=120))
    assert "No trial has a value of val/accuracy and cost/latency yet." in printed.getvalue()
    assert "No trial has a value of" in render_page(loaded)


def test_a_cost_that_is_no_number_counts_as_not_measured(results, sweep, tmp_path):
    results.trial(sweep.trial(8), [0.99], label=None, cost={"latency_ms": math.nan})
    assert 8 not in {point.trial.number for point in find_front(load_results(tmp_path))}


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_the_line_of_the_chart_promises_no_more_than_there_is(results, tmp_path, goal):
    metric = {**METRIC, "costs": [{"name": "cost/receptive_field", "goal": goal}]}
    found = results.sweep(tmp_path, metric=metric, compare=None)
    for number, (accuracy, field) in enumerate([(0.9, 30), (0.7, 50 if goal == "maximize" else 10)]):
        results.trial(found.trial(number), [accuracy], label=None, cost={"receptive_field": field})
    ((_, _, figure),) = fronts(load_results(tmp_path))
    line = figure["data"][-1]
    assert (line["name"], line["y"], line["x"][1]) == ("Pareto front", [0.7, 0.9], 30)
    assert line["line"]["shape"] == "hv"  # between the two, only the worse one is to be had


def test_the_page_speaks_of_early_stopping_only_where_there_was_some(results, sweep, tmp_path):
    words = "Trials were stopped early by val/accuracy alone"
    assert words in render_page(load_results(tmp_path))
    shutil.rmtree(sweep.trial(4).path)
    assert words not in render_page(load_results(tmp_path))


@pytest.fixture
def compared(results, tmp_path):
    """The best mlp is beaten by a cnn, a worse one is on the front as the cheapest."""
    found = results.sweep(tmp_path, metric=METRIC, run_cap=3, confirm={"top": 2, "seeds": 3})
    trials = {0: ("cnn", 0.9, 4.0), 1: ("mlp", 0.88, 5.0), 2: ("mlp", 0.5, 1.0)}
    for number, (label, accuracy, latency) in trials.items():
        results.trial(found.trial(number), [accuracy], label=label, lr=0.1 + number, cost={"latency_ms": latency})
    for number, rate in ((0, 0.9), (2, 0.5)):
        first = FIRST_SEED + 1000 * number
        results.confirm(found, trials[number][0], rate, trial=number, seeds=3, first=first, role="report")
    return found


def test_alternatives_are_not_compared_by_a_point_that_is_not_their_best(compared, tmp_path):
    loaded = load_results(tmp_path)
    assert set(point_runs(loaded)) == {0, 2}
    assert describe_answer(loaded).startswith("Confirmed: on test the accuracy of cnn (trial 0) is")
    rows = {row["label"]: row for row in build_alternatives(loaded)}
    assert (rows["cnn"]["confirmed_trial"], rows["mlp"]["confirmed_trial"]) == (0, None)
    assert (rows["mlp"]["trial"], rows["mlp"]["confirm_runs"]) == (1, 3)
    assert {row["trial"]: row["confirmed"] for row in build_leaderboard(loaded)} == {0: "winner", 1: None, 2: "point"}
    assert build_summary(loaded)["differences"] == []


def test_alternatives_whose_best_are_on_the_front_are_compared(results, compared, tmp_path):
    results.trial(compared.trial(1), [0.4], label="mlp", lr=1.1, cost={"latency_ms": 5.0})
    ((better, worse),) = [(row["better"], row["worse"]) for row in build_summary(load_results(tmp_path))["differences"]]
    assert (better, worse) == ("cnn", "mlp")


def test_a_cheap_point_does_not_stand_for_the_best_one_whose_confirm_runs_failed(results, sweep, tmp_path):
    confirm(results, sweep, 3, 0.6, 1.0)
    loaded = load_results(tmp_path)
    assert choose_best(loaded).run.number == 0
    assert describe_answer(loaded).startswith("Best on val/accuracy: trial 0 with 0.9")
    assert {row["trial"]: row["confirmed"] for row in build_leaderboard(loaded) if row["confirmed"]} == {3: "point"}


def test_a_seed_that_failed_in_each_point_takes_one_more(results, sweep, tmp_path):
    for trial in (0, 4, 3):
        confirm(results, sweep, trial, 0.6, 1.0)
        path = sweep.confirm_run("best", FIRST_SEED + 1000 * trial).path / "result.json"
        values = json.loads(path.read_text())
        path.write_text(json.dumps({**values, "status": "failed", "best": None, "error": "boom"}))
    loaded = load_results(tmp_path)
    missing = find_missing(loaded)
    assert [(run.trial, run.failed) for run in missing] == [(0, True), (4, True), (3, True)]
    assert resume_command(loaded, missing).endswith("--add-seeds 1")


def test_confirm_runs_that_are_not_scored_yet_are_said(results, sweep, tmp_path):
    for place in range(2):
        run = sweep.confirm_run("best", FIRST_SEED + place)
        results.trial(run, [0.5], label=None, trial=0, role="report")
    assert describe_confirm(load_results(tmp_path))[0] == "2 confirm runs complete: 2 not scored yet."
