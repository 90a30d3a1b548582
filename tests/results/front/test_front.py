"""The Pareto front in the results: its points, which are confirmed, and where it is shown."""

import csv
import json

import pytest

from hwcls.report.html.charts.front import fronts
from hwcls.report.html.page import render_page
from hwcls.results.best.choose import choose_best
from hwcls.results.best.folder import update_best
from hwcls.results.compare import build_leaderboard, build_summary, write_leaderboard
from hwcls.results.confirm.describe import describe_confirm
from hwcls.results.confirm.missing import find_missing
from hwcls.results.confirm.plan import FIRST_SEED, confirm_config, plan_confirm
from hwcls.results.front.describe import build_front, describe_front
from hwcls.results.front.find import choose_points, find_front, volume
from hwcls.results.load import load_results

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
