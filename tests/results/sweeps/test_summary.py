"""The state, progress and answer of a sweep in a list."""

from __future__ import annotations

import fcntl
import json

import pytest

from hwcls import files
from hwcls.results.confirm import search_end
from hwcls.results.load import load_outcomes, load_results
from hwcls.results.sweeps.summary import Progress, summarize_sweep
from hwcls.tracking import left_out
from hwcls.tracking.folders import TrialFolder
from hwcls.tracking.records import Result

SPACE = {
    "data": {"name": "digits"},
    "model": {"name": "mlp"},
    "optimizer": {"name": "adam", "lr": {"values": [1, 2, 3]}},
}


@pytest.fixture
def ended(results, tmp_path):
    """A sweep of six trials that have all ended, without confirm."""
    sweep = results.sweep(tmp_path / "sweep")
    for number in range(6):
        results.trial(sweep.trial(number), [0.3, 0.5 + number / 10], label=("cnn", "mlp")[number % 2])
    return sweep


def test_a_finished_sweep(ended):
    found = summarize_sweep(ended.path)
    assert (found.state, found.progress) == ("finished", Progress(trials=6, total=6))
    assert found.answer == "Best on val/accuracy: mlp with 1 (trial 5, epoch 2), ahead of cnn 0.9."
    values = found.to_dict()
    assert values["best"] == {"trial": 5, "label": "mlp", "val/accuracy": 1.0}
    assert values["name"] == "sweep"
    assert values["written"].endswith("+00:00")
    json.dumps(values)


def test_a_running_one_is_known_by_its_lock(ended, results):
    results.trial(ended.trial(6), [0.1], status=None)
    with open(ended.path / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert summarize_sweep(ended.path).state == "running"
    assert summarize_sweep(ended.path).state == "interrupted"


def test_a_trial_that_is_left_out_leaves_room_for_another(ended):
    left_out.exclude(ended.trial(5).path, "faulty")
    found = summarize_sweep(ended.path)
    assert (found.state, found.progress.trials) == ("interrupted", 5)


def test_confirm_runs_are_part_of_it(results, tmp_path):
    sweep = results.overtaken(tmp_path, run_cap=4)
    found = summarize_sweep(tmp_path)
    assert (found.state, found.progress) == ("finished", Progress(4, 4, 18, 18))
    texts = [
        f"{name} {100 * mean:.1f} % (5 seeds)" for name, mean in (("cnn (trial 1)", 0.94375), ("mlp (trial 4)", 0.758))
    ]
    assert found.answer == f"Accuracy on test: {' and '.join(texts)}."
    (sweep.confirm_run("mlp", 10_004_000).path / "result.json").unlink()
    found = summarize_sweep(tmp_path)
    assert (found.state, found.progress) == ("interrupted", Progress(4, 4, 17, 18))


def test_failed_runs_are_counted_and_do_not_keep_a_sweep_from_its_end(ended, results):
    results.trial(ended.trial(0), [0.2], status="failed", error="NaN")
    found = summarize_sweep(ended.path)
    assert (found.state, found.progress.failed) == ("finished", 1)


def test_a_sweep_that_was_interrupted_before_a_trial_ended(results, tmp_path):
    sweep = results.sweep(tmp_path)
    found = summarize_sweep(tmp_path)
    assert (found.state, found.answer) == ("interrupted", "No trial has started yet.")
    results.trial(sweep.trial(0), [0.4], status=None, label="mlp")
    results.trial(sweep.trial(1), [0.3], status=None, label="mlp")
    sweep.trial(1).pause(Result("stopped", {"epoch": 1, "val/accuracy": 0.3}, "mlp", {}, 0.0))
    found = summarize_sweep(tmp_path)
    assert (found.state, found.progress) == ("interrupted", Progress(trials=0, total=6, unfinished=2))
    assert found.answer == "Best on val/accuracy: mlp with 0.4 (trial 0, epoch 1)."


def test_a_grid_has_as_many_trials_as_points_and_a_budget_any(results, tmp_path):
    results.sweep(tmp_path / "grid", method="grid", run_cap=None, compare=None, early_terminate=None, parameters=SPACE)
    results.sweep(tmp_path / "budget", run_cap=None, budget="2h", compare=None, parameters=SPACE)
    assert summarize_sweep(tmp_path / "grid").progress.total == 3
    assert summarize_sweep(tmp_path / "budget").progress.total is None


def test_a_grid_is_finished_when_every_point_counts(results, tmp_path):
    sweep = results.sweep(tmp_path, method="grid", run_cap=None, compare=None, early_terminate=None, parameters=SPACE)
    for number in range(3):
        assert summarize_sweep(tmp_path).state != "finished"
        results.trial(sweep.trial(number), [0.5], label=None, lr=number + 1)
    assert summarize_sweep(tmp_path).state == "finished"
    left_out.exclude(sweep.trial(1).path, "faulty")
    assert summarize_sweep(tmp_path).state == "interrupted"


def test_a_summary_parses_the_sweep_once(results, tmp_path, monkeypatch):
    """With hundreds of sweeps beside each other that is what takes the time."""
    sweep = results.sweep(tmp_path, run_cap=1, compare=None, parameters=SPACE)
    results.trial(sweep.trial(0), [0.5], label=None)
    parsed, parse = [], search_end.parse_sweep
    monkeypatch.setattr(search_end, "parse_sweep", lambda source: parsed.append(source) or parse(source))
    assert summarize_sweep(tmp_path).state == "finished"
    assert len(parsed) == 1


@pytest.mark.parametrize("parameters", [SPACE, {"model": {"name": "unknown"}}], ids=["this version", "another version"])
def test_a_budget_that_is_raised_leaves_time_for_trials(results, tmp_path, parameters):
    settings = {"run_cap": None, "compare": None, "parameters": parameters}
    sweep = results.sweep(tmp_path, budget="1h", **settings)
    results.trial(sweep.trial(0), [0.5], label=None)
    assert summarize_sweep(tmp_path).state == "interrupted"  # no time was recorded: it has not come to its end
    environment = json.loads((tmp_path / "environment.json").read_text())
    files.write_json(tmp_path / "environment.json", {**environment, "budget_spent": 3600.1})
    assert summarize_sweep(tmp_path).state == "finished"
    path = tmp_path / "sweep.yaml"
    path.write_text(path.read_text().replace("budget: 1h", "budget: 2h"))
    assert summarize_sweep(tmp_path).state == "interrupted"


def test_another_version_and_damage_are_different_states(ended):
    files.write_yaml(ended.path / "sweep.yaml", {"metric": ["val/accuracy"]})
    found = summarize_sweep(ended.path)
    assert (found.state, found.readable) == ("another version", False)
    assert found.answer.startswith("hwcls 0.1 wrote it, this is ")
    files.write_json(ended.path / "environment.json", {})
    found = summarize_sweep(ended.path)
    assert found.state == "damaged"
    assert found.answer.startswith(f"{ended.path}/sweep.yaml: is damaged (metric: ")
    assert found.to_dict()["metric"] is None


def test_outcomes_are_the_results_without_the_epochs_of_what_has_ended(results, tmp_path):
    results.full(tmp_path)
    whole, brief = load_results(tmp_path), load_outcomes(tmp_path)
    facts = [(one.number, one.label, one.status, one.value, one.parameters, one.seconds) for one in whole.trials]
    assert [
        (one.number, one.label, one.status, one.value, one.parameters, one.seconds) for one in brief.trials
    ] == facts
    assert [len(one.records) for one in whole.trials] == [3, 3, 1, 1, 2, 0]
    assert [len(one.records) for one in brief.trials] == [1, 1, 1, 1, 2, 0]


def test_no_epochs_of_ended_trials_are_read(ended, monkeypatch):
    monkeypatch.setattr(TrialFolder, "records", lambda self: pytest.fail(f"{self.path} is read"))
    assert summarize_sweep(ended.path).state == "finished"
