"""A sweep file with several metrics: what they are, and what is no metric, in one line with its place."""

import pytest
import yaml

from hwcls.config.optim import CostConfig, MetricConfig
from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError
from hwcls.sweep.storage.settings import changed_keys

FILE = {
    "name": "tiny",
    "run_cap": 20,
    "metric": ["val/accuracy", "cost/latency"],
    "parameters": {
        "data": {"name": "digits"},
        "model": {"choice": {"mlp": {"width": {"min": 8, "max": 64}}, "cnn": {"name": "simple_cnn"}}},
        "optimizer": {"name": "adam", "lr": {"min": 1e-3, "max": 1e-1, "log": True}},
    },
}


@pytest.fixture
def load(tmp_path):
    def load(**changes):
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(FILE | changes, sort_keys=False))
        return load_sweep(path)

    return load


def test_each_known_metric_has_its_direction(load):
    metric = load(metric=["val/loss", "cost/latency", "cost/parameters", "cost/flops", "cost/memory"]).config.metric
    assert (metric.name, metric.goal) == ("val/loss", "minimize")
    assert {cost.goal for cost in metric.costs} == {"minimize"}
    assert [cost.recorded for cost in metric.costs] == ["latency_ms", "parameters", "flops", "memory_mb"]


def test_a_direction_can_be_given():
    metric = MetricConfig.model_validate(
        [{"name": "val/accuracy", "goal": "maximize"}, {"name": "cost/receptive_field", "goal": "maximize"}]
    )
    assert metric.costs == (CostConfig(name="cost/receptive_field", goal="maximize"),)


def test_trials_and_sweep_yaml_record_the_metrics_and_mean_the_same(load):
    sweep = load()
    written = sweep.resolved()
    assert written["metric"] == {"name": "val/accuracy", "goal": "maximize", "costs": ["cost/latency"]}
    assert load(metric=written["metric"]).config.metric == sweep.config.metric
    assert all(trial.metric == sweep.config.metric for trial in sweep.corners)
    assert sweep.corners[0].flat()["metric_costs"] == "cost/latency"


def test_a_single_metric_is_recorded_as_before(load):
    for metric in ("val/accuracy", ["val/accuracy"], {"name": "val/accuracy"}):
        sweep = load(metric=metric)
        assert sweep.resolved()["metric"] == {"name": "val/accuracy", "goal": "maximize"}
        assert sweep.corners[0].to_dict()["metric"] == {"name": "val/accuracy", "goal": "maximize"}


def test_a_further_metric_makes_another_sweep_of_it(load):
    assert changed_keys(load(metric="val/accuracy").resolved(), load().resolved()) == ["metric.costs"]


ERRORS = [
    (["val/accuracy", "cost/receptive_field"], r"tiny.yaml:5: metric.1: cost/receptive_field has no direction"),
    (["val/accuracy", "cost/latncy"], r"tiny.yaml:5: metric.1: unknown metric 'cost/latncy' — did you mean"),
    (["val/accuracy", "val/loss"], r"metric.1: val/loss as a further metric, but these are costs .* — write cost/"),
    (["val/accuracy", {"name": "cost/flops", "goal": "maximize"}], r"metric.1: cost/flops is better when minimized"),
    (["val/accuracy", "cost/flops", "cost/flops"], r"tiny.yaml:3: metric: cost/flops is named twice"),
    (["cost/latency", "val/accuracy"], r"cost/latency as the first metric, .* — write \[val/accuracy, cost/latency\]"),
    ("cost/latency", r"metric: cost/latency as the first metric"),
    ("cost/receptive_field", r"write \[val/accuracy, {name: cost/receptive_field, goal: minimize}\]"),
    (["val/accuracy", "test/accuracy"], r"metric.1: 'test/accuracy' cannot be the metric: test is read once"),
    (["val/acuracy", "cost/flops"], r"tiny.yaml:4: metric.0: 'val/acuracy' is not a valid value .* did you mean"),
    ([], r"metric is an empty list — write val/accuracy"),
]


@pytest.mark.parametrize(("metric", "line"), ERRORS, ids=[str(metric) for metric, _ in ERRORS])
def test_what_is_no_metric_is_one_line_with_its_place(load, metric, line):
    with pytest.raises(UserError, match=line) as error:
        load(metric=metric)
    assert "\n" not in str(error.value)


def test_a_method_for_one_metric_is_refused_for_several_and_the_other_way_round(load):
    with pytest.raises(UserError, match=r"method gp searches for one metric, and there are 2 — write method: auto"):
        load(method="gp")
    with pytest.raises(UserError, match=r"method nsga2 searches for several metrics, and val/accuracy is one"):
        load(method="nsga2", metric="val/accuracy")
    assert load(method="nsga2").config.method == "nsga2"


def test_confirm_runs_are_counted_for_the_whole_front(load):
    sweep = load(compare="model", confirm={"top": 3, "seeds": 2})
    assert sweep.confirm_runs({}, ["mlp", "cnn"]) == {"mlp": (0, 4), "cnn": (0, 2)}
    assert sweep.confirm_runs({"mlp": 1, "cnn": 1}, ["mlp", "cnn"]) == {"mlp": (0, 2), "cnn": (0, 2)}
    single = load(compare="model", confirm={"top": 3, "seeds": 2}, metric="val/accuracy")
    assert single.confirm_runs({}, ["mlp", "cnn"]) == {"mlp": (6, 2), "cnn": (6, 2)}
