"""Wherever there is a confirmed winner, what is shown is its own, and the leader of the search is named beside it."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from hwcls.report.html.charts import diagnostics as charts
from hwcls.report.html.charts.learning_curves import epoch_curves, trial_values
from hwcls.report.html.page import write_page
from hwcls.report.terminal.leaderboard import print_leaderboard
from hwcls.report.terminal.merged_leaderboard import print_merged_leaderboard
from hwcls.results.compare import build_alternatives, build_leaderboard, build_summary, group_leaderboard
from hwcls.results.diagnostics import load_diagnostics
from hwcls.results.learning_dynamics import summarize_learning
from hwcls.results.load import load_results
from hwcls.results.representatives import choose_representatives
from hwcls.results.test_scores import score_winners
from hwcls.training.artifacts import load_arrays


@pytest.fixture
def sweep(results, tmp_path):
    results.overtaken(tmp_path)
    return load_results(tmp_path)


def mean_on_test(sweep, trial):
    return float(np.mean([run.test["test/accuracy"] for run in sweep.confirm if run.test and run.run.number == trial]))


def test_winners_represent_their_alternatives(sweep):
    chosen = choose_representatives(sweep)
    assert [(one.label, one.trial.number, one.leader.number) for one in chosen] == [("cnn", 1, 9), ("mlp", 4, 2)]
    assert all(one.confirmed and not one.is_leader for one in chosen)


def test_without_confirm_runs_the_leaders_do(results, tmp_path):
    results.full(tmp_path)
    chosen = choose_representatives(load_results(tmp_path))
    assert [(one.label, one.trial.number, one.confirmed) for one in chosen] == [("mlp", 1, False), ("resnet", 4, False)]


def test_confirmed_alternatives_are_ordered_by_test(results, tmp_path):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.9, trial=4)
    results.confirm(sweep, "mlp", 0.7, trial=1)
    assert [one.label for one in choose_representatives(load_results(tmp_path))] == ["resnet", "mlp"]


def test_every_row_has_its_own_score(sweep):
    cnn, mlp = build_alternatives(sweep)
    assert (cnn["label"], cnn["trial"], cnn["value"], cnn["confirmed_trial"]) == ("cnn", 1, 0.95, 1)
    assert (cnn["best_trial"], cnn["best_value"]) == (9, 0.99)
    assert cnn["test/accuracy"] == pytest.approx(mean_on_test(sweep, 1))
    assert (mlp["trial"], mlp["test/accuracy"]) == (4, pytest.approx(mean_on_test(sweep, 4)))
    board = {row["trial"]: row for row in build_leaderboard(sweep)}
    assert {number: row["confirmed"] for number, row in board.items()} == {
        9: "retrained",
        1: "winner",
        2: "retrained",
        4: "winner",
    }
    tests = {number: row["test/accuracy"] for number, row in board.items()}
    assert tests == {
        9: None,
        2: None,
        1: pytest.approx(mean_on_test(sweep, 1)),
        4: pytest.approx(mean_on_test(sweep, 4)),
    }
    assert [[row["trial"] for row in group] for group in group_leaderboard(sweep)] == [[9, 1], [2, 4]]
    assert json.loads(json.dumps(build_summary(sweep), allow_nan=False))["classes"][0]["trial"] == 1


def test_curves_and_diagnostics_are_the_winners(sweep):
    named = {trace["name"] for trace in epoch_curves(sweep, "accuracy")["data"] if "name" in trace}
    trials = {"cnn, trial 1", "cnn, trial 1, train", "mlp, trial 4", "mlp, trial 4, train"}
    assert named == trials | {"training images", "other trials"}
    stars = {
        number
        for trace in trial_values(sweep)["data"]
        if trace["mode"] == "markers"
        for number, symbol in zip(trace["x"], trace["marker"]["symbol"], strict=True)
        if symbol == "star"
    }
    assert stars == {1, 4}
    found = load_diagnostics(sweep)
    assert [(one.name, one.trial.number) for one in found] == [("cnn", 1), ("mlp", 4)]
    stored = load_arrays(sweep.folder / "trials" / "1" / "predictions.npz")
    assert np.array_equal(found[0].scores, stored["scores"].astype(np.float32))
    drawn = charts.confusion_matrices([], found, ["0", "1", "2"])["models"][0]
    matrix = np.zeros((3, 3), int)
    last = drawn["epochs"][-1]
    matrix[last["row"], last["col"]] = last["count"]
    assert np.trace(matrix) / matrix.sum() == pytest.approx(0.8, abs=0.1)  # trial 9's is .9 in the search


def test_learning_dynamics_are_of_the_runs_on_test(sweep):
    (cnn, mlp), _ = summarize_learning(sweep)
    assert (cnn.runs, cnn.confirmed, cnn.val) == (5, True, 0.96)
    assert cnn.test == pytest.approx(mean_on_test(sweep, 1))
    assert mlp.test == pytest.approx(mean_on_test(sweep, 4))
    assert [(one.name, one.trial) for one in score_winners(sweep, 3)] == [("cnn", 1), ("mlp", 4)]


def printed(console_function, *arguments):
    console = Console(file=io.StringIO(), width=120)
    console_function(*arguments, console, 2)
    return [line.split() for line in console.file.getvalue().splitlines()]


def test_the_terminal_shows_the_winner(sweep):
    lines = printed(print_leaderboard, sweep)
    row = next(line for line in lines if line[:1] == ["cnn"])
    assert row[:7] == ["cnn", "2", "4", "2.4", "s", "1", "0.9500"]  # trials, epochs, time, the winner, its value
    assert row[-3:] == ["trial", "9,", "0.9900"]
    shown = [line[1] for line in lines if line[-1:] and line[-1].startswith("lr=")]
    assert shown == ["1", "4"]  # with room for one of each alternative it is the winner
    assert all("winner" in line for line in lines if line[-1:] and line[-1].startswith("lr="))


def test_several_sweeps_show_what_was_confirmed(results, tmp_path):
    for name in ("one", "two"):
        results.overtaken(tmp_path / name)
    lines = printed(print_merged_leaderboard, [load_results(tmp_path / name) for name in ("one", "two")])
    assert [line[:5] for line in lines if line[1:3] == ["On", "test"]] == [
        ["one:", "On", "test", "cnn", "(trial"],
        ["two:", "On", "test", "cnn", "(trial"],
    ]


@pytest.mark.parametrize("compare", ["model", None])
def test_the_page_shows_the_winner(results, tmp_path, compare):
    results.overtaken(tmp_path, compare=compare)
    text = write_page(tmp_path).read_text("utf-8")
    assert "Diagnostics of the confirmed winner" in text
    picks, reports = (8, 10) if compare else (4, 5)
    assert f"{picks} picked the winners on validation and {reports} report them on test" in text
    assert len(re.findall(r'<tr data-group="\d" class="[^"]* winner">', text)) == (2 if compare else 1)
    assert "thick lines are the confirmed winner" in text
    assert "trial 9 (0.99) " in text
    first = text.index(f"hwcls train {tmp_path}/trials/1/config.yaml")
    assert first < text.index(f"hwcls train {tmp_path}/trials/9/config.yaml")
    if compare is None:
        assert '<button type="button">trial 1<br>F1' in text
    else:
        assert re.search(r"<td[^>]*>trial 9, 0.9900</td>", text)
