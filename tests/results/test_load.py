"""Results folders, complete or damaged, as plain values."""

from __future__ import annotations

import json
import math

import pytest

from hwcls import files
from hwcls.cli.main import app
from hwcls.errors import UserError
from hwcls.reading import forget_reports, read_yaml
from hwcls.results.compare import build_leaderboard
from hwcls.results.load import UNFINISHED, best_record, load_results
from hwcls.tracking.folders import TrialFolder
from hwcls.tracking.records import Result


def test_a_sweep_is_read_completely(tmp_path, results):
    results.full(tmp_path)
    sweep = load_results(tmp_path)
    assert (sweep.name, sweep.metric, sweep.goal, sweep.compare) == ("tiny", "val/accuracy", "maximize", "model")
    assert sweep.data["train"] == 120
    assert sweep.environment["hardware"]["cpus"] == 2
    assert [trial.number for trial in sweep.trials] == [0, 1, 2, 3, 4, 5]
    first = sweep.trials[0]
    assert (first.label, first.status, first.value, first.best["epoch"]) == ("resnet", "complete", 0.7, 2)
    assert first.best["train/accuracy"] == pytest.approx(0.71)
    assert first.parameters == {"model": "resnet", "lr": 0.01}


def test_a_trial_in_mid_run_counts_with_what_it_has(tmp_path, results):
    results.full(tmp_path)
    running, started = load_results(tmp_path).trials[4:]
    assert running.status == started.status == UNFINISHED
    assert [line["epoch"] for line in running.records] == [1, 2]  # the third is incomplete
    assert running.value == 0.72
    assert running.label == "resnet"  # from its config
    assert running.parameters == {"model": "resnet", "lr": 0.02}
    assert running.seconds == pytest.approx(1.0)
    assert started.value is None
    assert started.best is None


def test_a_trial_in_mid_run_has_the_label_of_those_that_ended(tmp_path, results):
    """Also where the sweep file writes a number without a fraction, and config.yaml with one."""
    parameters = {"data": "digits", "model": "mlp", "optimizer": "adam", "label_smoothing": {"values": [0, 0.1]}}
    sweep = results.sweep(tmp_path, compare="label_smoothing", parameters=parameters)
    results.trial(sweep.trial(0), [0.5], label="0")
    results.trial(sweep.trial(1), [0.5], status=None)
    found = load_results(tmp_path)
    assert sweep.trial(1).settings()["label_smoothing"] == 0.0
    assert ([trial.label for trial in found.trials], found.labels) == (["0", "0"], ["0"])


def test_a_first_trial_in_mid_run_has_the_settings_that_the_sweep_file_searches(tmp_path, results):
    space = {
        "data": {"name": "digits", "batch_size": {"values": [64, 128]}},
        "model": {"choice": {"mlp": {"width": {"values": [16]}, "depth": 1}, "resnet": {"name": "mlp"}}},
        "optimizer": {"name": "adam", "lr": {"min": 1e-3, "max": 0.1, "log": True}},
    }
    sweep = results.sweep(tmp_path, parameters=space)
    results.trial(sweep.trial(0), [0.5], status=None, lr=0.02)
    loaded = load_results(tmp_path)
    assert loaded.trials[0].parameters == {"batch_size": 128, "model": "resnet", "lr": 0.02}
    (row,) = build_leaderboard(loaded)
    assert (row["batch_size"], row["lr"]) == (128, 0.02)
    results.trial(sweep.trial(0), [], lr=0.02)  # other words for what has ended: those that result.json has
    assert load_results(tmp_path).trials[0].parameters == {"model": "resnet", "lr": 0.02}


def test_ranked_puts_failed_ones_last_and_valueless_ones_before(tmp_path, results):
    results.full(tmp_path)
    assert [trial.number for trial in load_results(tmp_path).ranked()] == [1, 4, 0, 2, 5, 3]


def test_less_is_better_when_minimized(tmp_path, results):
    sweep = results.sweep(tmp_path, metric={"name": "val/loss", "goal": "minimize"})
    results.trial(sweep.trial(0), [0.5, 0.7, 0.6], status=None)  # val/loss is 1.6 less this
    results.trial(sweep.trial(1), [0.8], status=None)
    loaded = load_results(tmp_path)
    assert [trial.number for trial in loaded.ranked()] == [1, 0]
    assert loaded.trials[0].best["epoch"] == 2
    assert loaded.trials[0].value == pytest.approx(0.9)


def test_nan_is_never_best(tmp_path, results):
    sweep = results.sweep(tmp_path)
    results.trial(sweep.trial(0), [0.5, math.nan, 0.4])
    results.trial(sweep.trial(1), [math.nan, math.nan])
    first, second = load_results(tmp_path).trials
    assert (first.value, first.best["epoch"]) == (0.5, 1)
    assert second.value is None
    records = [{"epoch": 1, "m": math.nan}, {"epoch": 2, "m": 0.3}, {"epoch": 3, "m": 0.3}, {"epoch": 4}]
    assert best_record(records, "m", "maximize")["epoch"] == 2


def test_a_nan_best_in_the_result_is_ignored(tmp_path, results):
    sweep = results.sweep(tmp_path)
    results.trial(sweep.trial(0), [0.5])
    path = sweep.trial(0).path / "result.json"
    files.write_json(path, json.loads(path.read_text()) | {"best": {"epoch": 1, "val/accuracy": math.nan}})
    assert load_results(tmp_path).trials[0].value == 0.5


def test_missing_and_broken_files_are_tolerated(tmp_path, results):
    sweep = results.full(tmp_path)
    (tmp_path / "data.json").unlink()
    (tmp_path / "environment.json").write_text("{torn")
    (sweep.trial(0).path / "result.json").write_text("{torn")
    sweep.trial(1).metrics_path.unlink()
    loaded = load_results(tmp_path)
    assert loaded.data is None
    assert loaded.environment is None
    assert loaded.trials[0].status == UNFINISHED
    assert loaded.trials[1].value == 0.9  # result.json still says so
    assert loaded.trials[1].records == ()


def test_confirm_runs(tmp_path, results):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "mlp", 0.8, seeds=2, trial=1)
    results.trial(sweep.confirm_run("resnet", 1000), [0.5], status=None)
    runs = load_results(tmp_path).confirm
    assert [(run.label, run.seed, run.run.number) for run in runs] == [
        ("mlp", 1000, 1),
        ("mlp", 1001, 1),
        ("resnet", 1000, -1),
    ]
    assert set(runs[0].test) == {"test/accuracy", "test/loss"}
    assert len(runs[0].run.records) == 2  # the line of test scores is no epoch
    assert runs[2].test is None


@pytest.mark.parametrize("content", [None, "- a list", "a: [torn"])
def test_other_folders_are_refused_in_a_line(tmp_path, content):
    folder = tmp_path / "here"
    folder.mkdir()
    if content is not None:
        (folder / "sweep.yaml").write_text(content)
    with pytest.raises(UserError, match="here") as caught:
        load_results(folder)
    assert "hwcls sweep" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_and_a_file_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(UserError):
            load_results(path)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [(["a"], "1 class, predictions have 3"), (["a", "b"], "2 classes, predictions have 3"), (["a", "b", "c"], None)],
)
def test_a_data_file_of_other_classes_is_left_out(tmp_path, results, caplog, capsys, classes, expected):
    sweep = results.full(tmp_path)
    for number in (0, 1):
        results.seen(sweep.trial(number), 0.7)
    for label in ("resnet", "mlp"):
        results.confirm(sweep, label, 0.5, trial=int(label == "mlp"))
    files.write_json(tmp_path / "data.json", {"name": "my_set", "classes": classes})
    trials = [str(tmp_path / "trials" / number) for number in "01"]
    for command in (["report", str(tmp_path)], ["compare", str(tmp_path)], ["explain", *trials]):
        forget_reports()
        caplog.clear()
        app(command, standalone_mode=False)
        wanted = [f"{tmp_path / 'data.json'} is damaged ({expected}); it is left out"] if expected else []
        assert [record.getMessage() for record in caplog.records if "data.json" in record.getMessage()] == wanted
    assert (load_results(tmp_path).data is None) == (expected is not None)


def test_the_path_of_own_images_is_that_of_the_trials_where_an_earlier_version_wrote_none(tmp_path, results):
    sweep = results.sweep(tmp_path)
    own, known = {"name": "imagefolder", "classes": ["a"]}, {"name": "digits", "classes": ["0"]}
    files.write_json(tmp_path / "data.json", {**own, "others": [own, known]})
    assert "path" not in load_results(tmp_path).data  # no trial has begun
    results.trial(sweep.trial(0), [0.5])
    (sweep.trial(0).path / "config.yaml").write_text("{")  # damaged: the next one is read
    results.trial(sweep.trial(1), [0.5])
    config = sweep.trial(1).path / "config.yaml"
    files.write_yaml(config, {**read_yaml(config), "data": {"name": "imagefolder", "path": "/photos"}})
    data = load_results(tmp_path).data
    assert (data["path"], [one.get("path") for one in data["others"]]) == ("/photos", ["/photos", None])
    results.trial(sweep.trial(2), [0.5])
    config = sweep.trial(2).path / "config.yaml"
    files.write_yaml(config, {**read_yaml(config), "data": {"name": "imagefolder", "path": "/others"}})
    assert "path" not in load_results(tmp_path).data  # which of them is whose?
    files.write_json(tmp_path / "data.json", own | {"path": "/elsewhere"})
    assert load_results(tmp_path).data["path"] == "/elsewhere"


def test_predictions_of_other_classes_are_not_the_data_files_fault(tmp_path, results, caplog):
    sweep = results.full(tmp_path)
    results.seen(sweep.trial(0), 0.7, classes=4)
    results.seen(sweep.trial(1), 0.7)
    assert load_results(tmp_path).data["classes"] == ["0", "1", "2"]
    assert caplog.records == []


def test_paused_trials_are_read_without_their_configs(tmp_path, results, monkeypatch):
    """Of thousands: what they drew is in paused.json; of one that runs it is in the config alone."""
    sweep = results.sweep(tmp_path)
    for number in range(3):
        results.trial(sweep.trial(number), [0.1, 0.2], label=("resnet", "mlp")[number % 2], lr=0.5, status=None)
    for number in range(2):
        label = ("resnet", "mlp")[number % 2]
        best = {"epoch": 2, "val/accuracy": 0.2}
        sweep.trial(number).pause(Result("stopped", best, label, {"model": label, "lr": 0.5}, 1.0))
    read, settings = [], TrialFolder.settings
    monkeypatch.setattr(TrialFolder, "settings", lambda folder: read.append(folder.path.name) or settings(folder))
    found = load_results(tmp_path)
    assert [trial.status for trial in found.trials] == ["paused", "paused", "unfinished"]
    assert [trial.label for trial in found.trials] == ["resnet", "mlp", "resnet"]
    assert [dict(trial.parameters) for trial in found.trials[:2]] == [
        {"model": "resnet", "lr": 0.5},
        {"model": "mlp", "lr": 0.5},
    ]
    assert set(read) == {"2"}
