"""The page of thousands of trials: it stays small, shows a sample of them, and says so."""

import itertools
import json
import re
from dataclasses import replace

import pytest

from hwcls.report.html import sample
from hwcls.report.html.charts import learning_curves, search
from hwcls.report.html.charts.parallel_coordinates import parallel_coordinates
from hwcls.report.html.page import render_page
from hwcls.results.load import load_results

EPOCHS = 27


def many(folder, results, count, epochs=EPOCHS):
    """Results of so many trials of two alternatives, in memory; every third ran to its end."""
    results.full(folder)
    sweep = load_results(folder)
    first, trials = sweep.trials[0], []
    for number in range(count):
        label, value = ("resnet", "mlp")[number % 2], 0.5 + (number * 7919 % count) / (2 * count)
        last = epochs if number % 3 == 0 else max(1, epochs // 9)
        values = dict.fromkeys(("val/accuracy", "val/loss", "train/accuracy", "train/loss"), value)
        records = tuple({"epoch": epoch, **values} for epoch in range(1, last + 1))
        settings = {"model": label, "lr": 1e-3 * (1 + number % 97), "width": (16, 32)[number % 5 > 2]}
        trials.append(
            replace(
                first,
                number=number,
                label=label,
                status="complete" if last == epochs else "stopped",
                records=records,
                best=records[0],
                value=value,
                parameters=settings,
                seconds=1.0 + number % 13,
                cost={"parameters": 1000 + number % 501, "inference_ms": 0.1 + number % 11},
            )
        )
    return replace(sweep, trials=tuple(trials), confirm=(), looks=())


MADE = []  # by the first test that needs them


@pytest.fixture
def results_of_ten_thousand(tmp_path_factory, results):
    if not MADE:
        MADE.append(many(tmp_path_factory.mktemp("many"), results, 10_000))
    return MADE[0]


def curves(figure):
    """How many thin lines a chart of curves has."""
    return sum(1 + trace["x"].count(None) for trace in figure["data"] if trace.get("opacity") == 0.45)


def test_items_are_taken_evenly_with_both_ends():
    assert sample.sample(range(10), 4) == [0, 3, 6, 9]
    assert sample.sample(range(10), 1) == [0]
    assert sample.sample(range(10), 10) == sample.sample(range(10), 99) == list(range(10))
    found = sample.sample(range(10_000), 300)
    assert (len(found), found[0], found[-1]) == (300, 0, 9999)
    assert {b - a for a, b in itertools.pairwise(found)} == {33, 34}


def test_the_page_of_ten_thousand_trials(results_of_ten_thousand):
    sweep = results_of_ten_thousand
    page = render_page(sweep)
    assert len(page.encode()) < 5 * 2**20  # of which plotly.js is 1.1
    rows = page[page.index('<table id="board">') : page.index("</table>", page.index('<table id="board">'))]
    assert rows.count("<tr ") == sample.MAX_ROWS
    text = re.sub(r"\s+", " ", re.sub("<[^>]+>", "", page))
    assert "The first 1,000 of 10,000 rows of leaderboard.csv, the first of each alternative." in text
    said = "Of 10,000 trials a chart shows 300 as thin curves and about 1,000 as dots or as lines"
    assert text.count(said) == 2  # by the curves and by the charts of the search
    assert "Faint: some of the other trials." in text
    assert text.count("hwcls train ") == sample.MAX_LISTED + 1  # and that of the winner
    assert "9,800 more: each trial's folder has a config.yaml." in text


def test_charts_of_ten_thousand_trials_have_a_sample(results_of_ten_thousand):
    sweep = results_of_ten_thousand
    best = sweep.ranked()[0]
    figure = learning_curves.epoch_curves(sweep, "accuracy")
    assert sample.MAX_CURVES - 2 <= curves(figure) <= sample.MAX_CURVES
    dots = learning_curves.trial_values(sweep)["data"]
    shown = [number for trace in dots if trace["mode"] == "markers" for number in trace["x"]]
    bends = {number for trace in dots if trace["mode"] == "lines" for number in trace["x"]}
    assert sample.MAX_DOTS <= len(shown) <= sample.MAX_DOTS + len(bends)
    assert best.number in shown
    assert bends <= {*shown, 9999}
    points = search.pareto(sweep, "parameters")["data"]
    assert sum(len(trace["x"]) for trace in points if trace["mode"] == "markers") <= sample.MAX_DOTS + 20
    front = points[-1]
    drawn = {(x, y) for trace in points[:-1] for x, y in zip(trace["x"], trace["y"], strict=True)}
    assert set(zip(front["x"], front["y"], strict=True)) <= drawn
    lines = parallel_coordinates(sweep)
    assert sum(trace["x"].count(0) for trace in lines["data"] if trace["mode"] == "lines") == sample.MAX_DOTS
    assert "10,000 trials by" in lines["description"]
    assert "1,000 of them drawn" in lines["description"]


def test_the_best_so_far_is_that_of_all_trials(results_of_ten_thousand):
    sweep = results_of_ten_thousand
    step = next(t for t in learning_curves.trial_values(sweep)["data"] if t["mode"] == "lines" and t["name"] == "mlp")
    best, expected = 0.0, []
    for trial in sweep.trials:
        if trial.label == "mlp" and trial.value > best:
            best = trial.value
            expected.append((trial.number, float(f"{best:.5g}")))
    assert list(zip(step["x"], step["y"], strict=True)) == [*expected, (9999, expected[-1][1])]


def test_several_alternatives_have_no_more_dots_than_one(tmp_path, results):
    """Each of them has fewer trials than a chart has dots."""
    dots = learning_curves.trial_values(many(tmp_path, results, 1500))["data"]
    shown = sum(len(trace["x"]) for trace in dots if trace["mode"] == "markers")
    bends = sum(len(trace["x"]) for trace in dots if trace["mode"] == "lines")
    assert sample.MAX_DOTS <= shown <= sample.MAX_DOTS + bends < 1100


def test_trials_without_a_curve_are_not_said_to_be_left_out(tmp_path, results):
    sweep = many(tmp_path, results, 310)
    lost = (
        replace(trial, status="failed", value=None, best=None, records=(), error="x") for trial in sweep.trials[:50]
    )
    sweep = replace(sweep, trials=(*lost, *sweep.trials[50:]))
    assert curves(learning_curves.epoch_curves(sweep, "accuracy")) == 258  # and the best of each alternative
    assert sample.describe_sample(sweep) == ""


def test_a_few_hundred_trials_are_all_shown(tmp_path, results):
    sweep = many(tmp_path, results, 300)
    assert sample.describe_sample(sweep) == ""
    assert curves(learning_curves.epoch_curves(sweep, "accuracy")) == 298  # and the best of each alternative
    page = render_page(sweep)
    assert "The same table as <code>leaderboard.csv</code>" in page
    assert " a chart shows " not in page


def test_fewer_curves_where_they_are_long(tmp_path, results):
    sweep = many(tmp_path, results, 60, epochs=9000)
    assert sum(len(trial.records) for trial in sweep.trials) > sample.MAX_POINTS
    drawn = sample.sample_curves(sweep.ranked())
    assert 10 < len(drawn) < 60
    assert sum(len(trial.records) for trial in sweep.trials if trial.number in drawn) <= sample.MAX_POINTS
    assert sweep.ranked()[0].number in drawn
    said = f"Of 60 trials a chart shows {len(drawn)} as thin curves, evenly over the ranks."
    assert sample.describe_sample(sweep) == said


def test_many_failures_are_counted(tmp_path, results):
    sweep = many(tmp_path, results, 500)
    failed = tuple(replace(trial, status="failed", value=None, error="x") for trial in sweep.trials)
    page = render_page(replace(sweep, trials=failed))
    assert page.count("<summary><b>trial ") == sample.MAX_LISTED
    assert "300 more failed" in page


def test_many_runs_on_wandb_are_counted(tmp_path, results):
    sweep = many(tmp_path, results, 3)
    (tmp_path / "wandb").mkdir(exist_ok=True)
    lines = [{"identity": "x"}]
    lines += [{"run": f"trials/{n}", "entry": {"url": f"https://wandb.example/r/{n}"}} for n in range(500)]
    (tmp_path / "wandb" / "cursor.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = render_page(sweep)
    assert page.count("https://wandb.example/r/") == sample.MAX_LISTED
    assert "500 runs on" in page
    assert "<li>300 more</li>" in page
