"""Charts of the search: every trial is in them, where its numbers put it."""

import numpy as np
import pytest

from hwcls.report.html.charts import search
from hwcls.report.html.charts.parallel_coordinates import _Axis, parallel_coordinates
from hwcls.results.load import load_results
from hwcls.results.settings.importance import setting_importances


@pytest.fixture
def sweep(results, tmp_path):
    """Forty trials of two alternatives: resnet's value is of the learning rate alone, mlp's of chance."""
    rng = np.random.default_rng(0)
    folder = results.sweep(tmp_path, parameters={"optimizer": {"lr": {"min": 1e-4, "max": 1.0, "log": True}}})
    for number in range(40):
        lr, label = float(10 ** rng.uniform(-4, 0)), ("resnet", "mlp")[number % 2]
        value = 0.9 - 0.1 * abs(np.log10(lr) + 2) if label == "resnet" else float(rng.uniform(0.3, 0.4))
        cost = {"parameters": 1000 * (number + 1), "inference_ms": 0.1}
        results.trial(folder.trial(number), [value / 2, value][: 1 + number % 3], label=label, lr=lr, cost=cost)
    results.trial(folder.trial(40), [0.99], status="failed", error="x")
    return load_results(tmp_path)


def test_parallel_coordinates_hold_every_trial(sweep):
    figure = parallel_coordinates(sweep)
    lines = [trace for trace in figure["data"] if trace["mode"] == "lines"]
    assert [trace["name"] for trace in lines] == ["others", "to 50 %", "to 25 %", "best 10 %"]
    strands = [sum(x == 0 for x in trace["x"]) for trace in lines]
    assert strands == [20, 10, 6, 4]  # 40 trials that did not fail
    assert figure["layout"]["xaxis"]["ticktext"][-1] == "val/accuracy"
    best = lines[-1]
    last = len(figure["layout"]["xaxis"]["tickvals"]) - 1
    assert max(y for x, y in zip(best["x"], best["y"], strict=True) if x == last) == 1
    assert all(y is None or -0.2 < y <= 1 for trace in lines for y in trace["y"])


def test_importances_are_of_the_sweep_and_of_each_alternative(sweep):
    bars = search.importance(sweep)["data"]
    assert [bar["name"] for bar in bars] == ["all trials", "mlp", "resnet"]
    assert [bar["x"][bar["y"].index("model")] is None for bar in bars] == [False, True, True]
    lr = [bar["marker"]["opacity"][bar["y"].index("lr")] for bar in bars]
    assert lr[1:] == [0.3, 1.0]  # mlp's values are of chance
    for bar in bars:
        for place, share in enumerate(bar["x"]):
            if share is not None and bar["marker"]["opacity"][place] == 1.0:
                assert bar["customdata"][place] < share
                assert bar["error_x"]["arrayminus"][place] == pytest.approx(share - bar["customdata"][place], abs=1e-4)


def test_few_trials_have_no_importances(results, tmp_path):
    results.full(tmp_path)
    assert setting_importances(load_results(tmp_path)) == {}
    assert search.importance(load_results(tmp_path)) is None


def test_a_bad_trial_is_outside_unless_it_is_on_the_front(results, tmp_path):
    folder = results.sweep(tmp_path)
    for number in range(12):
        cost = {"parameters": 100 + number}
        results.trial(folder.trial(number), [0.1 if number == 11 else 0.9 + number / 1000], cost=cost)
    figure = search.pareto(load_results(tmp_path), "parameters")
    low, high = figure["layout"]["yaxis"]["range"]
    assert 0.8 < low < 0.9 < 0.91 < high
    assert "outside the chart" in figure["caption"]
    results.trial(folder.trial(11), [0.1], cost={"parameters": 1})
    assert "range" not in search.pareto(load_results(tmp_path), "parameters")["layout"]["yaxis"]


def test_the_front_holds_what_no_cheaper_trial_matches(sweep):
    figure = search.pareto(sweep, "parameters")
    front = figure["data"][-1]
    trials = [trial for trial in sweep.trials if not trial.failed]
    expected = [
        trial
        for trial in trials
        if not any(o.cost["parameters"] < trial.cost["parameters"] and o.value >= trial.value for o in trials)
    ]
    expected.sort(key=lambda trial: trial.cost["parameters"])
    assert front["x"] == [trial.cost["parameters"] for trial in expected]
    assert front["y"] == pytest.approx([trial.value for trial in expected], rel=1e-4)
    assert sum(len(trace["x"]) for trace in figure["data"][:-1]) == 40
    assert search.pareto(sweep, "inference_ms") is None  # all cost alike


def test_a_front_of_losses_goes_down(results, tmp_path):
    folder = results.sweep(tmp_path, metric={"name": "val/loss", "goal": "minimize"})
    for number, value in enumerate((0.5, 0.7, 0.6)):
        results.trial(folder.trial(number), [value], cost={"parameters": number + 1})
    front = search.pareto(load_results(tmp_path), "parameters")["data"][-1]
    assert front["x"] == [1, 2]  # losses 1.1 and 0.9; the third, 1.0, is dearer and worse


def test_epochs_spent(sweep):
    figure = search.epochs_spent(sweep)
    spent = {(bar["name"], x): y for bar in figure["data"] for x, y in zip(bar["x"], bar["y"], strict=True)}
    assert sum(spent.values()) == sum(len(trial.records) for trial in sweep.trials)
    assert spent["resnet", "1"] == sum(
        len(t.records) for t in sweep.trials if t.label == "resnet" and len(t.records) == 1
    )


def test_many_ends_are_put_into_few_bars(results, tmp_path):
    folder = results.sweep(tmp_path)
    for number in range(30):
        results.trial(folder.trial(number), [0.5] * (number + 1))
    figure = search.epochs_spent(load_results(tmp_path))
    (bar,) = figure["data"]
    assert len(bar["x"]) <= search.MAX_BARS
    assert sum(bar["y"]) == sum(range(1, 31))
    assert figure["layout"]["xaxis"]["categoryarray"] == bar["x"]


def test_labels_of_parallel_coordinates_are_short(results, tmp_path):
    folder = results.sweep(tmp_path, compare=None)
    for number, (value, lr) in enumerate([(15 / 18, 0.000123456789), (14 / 18, 0.00603), (15 / 18, 0.0356)]):
        results.trial(folder.trial(number), [value], label=None, lr=lr)
    figure = parallel_coordinates(load_results(tmp_path))
    words = next(trace for trace in figure["data"] if trace["mode"] == "text")["text"]
    assert words == ("0.0001235", "0.0356", "0.7778", "0.8333")
    assert figure["width"] == 144  # two axes
    assert parallel_labels(["cosine_with_restarts", None, "linear"]) == ["none", "cosine_wi…", "linear"]


def test_an_axis_offers_its_values_or_quarters_of_its_numbers():
    words = _Axis(["b", None, "a"], log=False)
    assert [name for name, *_ in words.ranges()] == ["none", "a", "b"]
    places = zip(map(words.height, (None, "a", "b")), words.ranges(), strict=True)
    assert all(low < height < high for height, (_, low, high) in places)
    numbers = _Axis([1e-5, 1e-3, 1e-1], log=True)
    names = [name for name, *_ in numbers.ranges()]
    assert names == ["1e-05 to 0.0001", "0.0001 to 0.001", "0.001 to 0.01", "0.01 to 0.1"]
    (_, low, _), *_, (_, _, high) = numbers.ranges()
    assert low <= numbers.height(1e-5) < numbers.height(1e-1) <= high


def parallel_labels(values):
    return [word for _, word in _Axis(values, False).tick_labels()]
