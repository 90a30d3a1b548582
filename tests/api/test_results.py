"""hwcls.load_results: data frames, objects and HTML of finished, running, empty, old and damaged sweeps."""

import fcntl
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import hwcls
from hwcls.files import write_json

EARLIER = Path(__file__).parents[1] / "earlier" / "results_0.1.zip"
FRAMES = ("trials", "curves", "leaderboard", "confirmed", "confirm_runs", "comparisons")
HOSTILE = "<script>alert(1)</script>\u202e\x1b[2J"


@pytest.fixture
def confirmed(results, tmp_path):
    """A sweep whose winners were confirmed on test."""
    return hwcls.load_results(results.overtaken(tmp_path / "overtaken").path)


def test_importing_it_is_quick_and_loads_nothing():
    code = "import time; t = time.perf_counter(); import hwcls; print(time.perf_counter() - t)"
    code += "; import sys; print(*{'torch', 'ray', 'pandas', 'numpy'} & set(sys.modules)); print(*dir(hwcls))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, loaded, names = done.stdout.splitlines()
    assert float(seconds) < 0.2
    assert loaded == ""
    assert {"load_results", "load_model", "sweep", "UserError", "Results"} <= set(names.split())
    with pytest.raises(AttributeError, match="no attribute 'lod_results'"):
        _ = hwcls.lod_results


def test_every_public_name_can_be_imported():
    assert all(callable(getattr(hwcls, name)) for name in hwcls.__all__)


def test_trials_have_settings_metrics_state_and_cost(results, tmp_path):
    sweep = results.full(tmp_path)
    results.trial(sweep.trial(6), [0.4, 0.8], cost={"parameters": 7, "flops": 9})
    found = hwcls.load_results(str(tmp_path))
    trials = found.trials.set_index("trial")
    assert list(trials.index) == list(range(7))
    assert list(trials.status) == ["complete", "complete", "stopped", "failed", "unfinished", "unfinished", "complete"]
    assert trials.loc[1, ["label", "epoch", "val/accuracy", "epochs"]].tolist() == ["mlp", 2, 0.9, 3]
    assert trials.loc[6, "cost/parameters"] == 7
    assert np.isnan(trials.loc[5, "val/accuracy"])
    assert trials.loc[3, "error"] == "loss is NaN"
    assert Path(trials.loc[3, "folder"]) == sweep.trial(3).path
    assert set(found.settings) == {"model", "lr"}
    assert trials.loc[1, found.settings].tolist() == ["mlp", 0.1]


def test_curves_have_a_row_for_each_trial_and_epoch(results, tmp_path):
    results.full(tmp_path)
    curves = hwcls.load_results(tmp_path).curves
    assert curves.groupby("trial").size().to_dict() == {0: 3, 1: 3, 2: 1, 3: 1, 4: 2}
    assert curves[curves.trial == 1]["val/accuracy"].tolist() == [0.4, 0.9, 0.8]
    assert {"train/loss", "lr", "seconds", "images_per_second", "label"} <= set(curves.columns)


def test_winners_and_their_comparison_are_those_of_the_report(confirmed):
    assert confirmed.leaderboard.trial.tolist()[:2] == [9, 1]
    assert confirmed.confirmed.trial.tolist() == [1, 4]
    row = confirmed.confirmed.iloc[0]
    assert row.low < row["test/accuracy"] < row.high
    assert row.seeds == 5
    assert confirmed.comparisons[["better", "worse", "differs"]].values.tolist() == [["cnn", "mlp", True]]
    assert confirmed.confirm_runs.groupby(["trial", "role"]).size().to_dict() == {
        (1, "pick"): 2,
        (1, "report"): 5,
        (2, "pick"): 2,
        (4, "pick"): 2,
        (4, "report"): 5,
        (9, "pick"): 2,
    }
    assert "cnn" in confirmed.answer
    assert confirmed.to_dict()["answer"] == confirmed.answer


def test_the_same_as_objects_needs_no_pandas(confirmed):
    code = f"import hwcls; r = hwcls.load_results({str(confirmed.path)!r}); o = r.objects; r.best; r._repr_html_()"
    code += "; print([one.label for one in o.confirmed], o.comparisons[0].differs, len(o.confirm_runs))"
    code += "; print([one.number for one in o.trials], [one.number for one in o.leaderboard][:2], len(o.curves[9]))"
    code += "; import sys; print({'pandas', 'torch', 'ray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['cnn', 'mlp'] True 18", "[1, 2, 4, 9] [9, 1] 2", "set()"]
    assert confirmed.objects.confirmed[0].seeds == 5


def test_a_sweep_without_trials_has_empty_frames_with_their_columns(results, tmp_path, confirmed):
    results.sweep(tmp_path / "empty")
    empty = hwcls.load_results(tmp_path / "empty")
    for name in FRAMES:
        frame, full = getattr(empty, name), getattr(confirmed, name)
        assert len(frame) == 0
        assert set(frame.columns) <= set(full.columns), name
        assert [str(frame.dtypes[one]) for one in frame if "/" in one] == ["float64"] * sum("/" in one for one in frame)
    assert {"trial", "label", "status", "epoch", "val/accuracy", "epochs", "seconds", "error"} <= set(empty.trials)
    assert {"trial", "epoch", "train/loss", "val/accuracy"} <= set(empty.curves)
    assert list(empty.confirmed) == ["label", "trial", "seeds", "test/accuracy", "low", "high"]
    assert list(empty.comparisons[empty.comparisons.differs].better) == []
    assert empty.objects.trials == ()
    assert "No trial has started yet." in empty._repr_html_()
    with pytest.raises(hwcls.UserError, match="no trial has a value yet — wait for its first epoch"):
        _ = empty.best


def test_with_several_metrics_the_points_of_the_front_are_compared(results, tmp_path):
    metric = {"name": "val/accuracy", "goal": "maximize", "costs": ["cost/latency"]}
    sweep = results.sweep(tmp_path, metric=metric, compare=None, confirm={"top": 2, "seeds": 3})
    for number, rate in ((0, 0.9), (2, 0.5)):
        results.trial(sweep.trial(number), [rate], lr=0.1 + number, cost={"latency_ms": 4.0 - number})
        first = 10_000_000 + 1000 * number
        results.confirm(sweep, "best", rate, trial=number, seeds=3, first=first, role="report")
    loaded = hwcls.load_results(tmp_path)
    assert [one.trial for one in loaded.objects.confirmed] == [0, 2]
    assert [(one.better, one.worse) for one in loaded.objects.comparisons] == [("trial 0", "trial 2")]


def test_a_running_sweep_is_marked(results, tmp_path):
    results.full(tmp_path)
    with open(tmp_path / ".lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = hwcls.load_results(tmp_path)
    assert found.running
    assert found.trials.status.tolist().count("running") == 2
    assert "(running)" in found._repr_html_()
    assert not hwcls.load_results(tmp_path).running


@pytest.mark.parametrize("name", ["finished", "unfinished"])
def test_results_of_version_0_1_are_read(tmp_path, name):
    with zipfile.ZipFile(EARLIER) as archive:
        archive.extractall(tmp_path)
    found = hwcls.load_results(tmp_path / name)
    assert found.trials["val/accuracy"].max() > 0.4
    assert found.curves.groupby("trial").size().tolist() == ([3, 3, 3, 1] if name == "finished" else [12, 12, 2, 8])
    assert found.best.trial == 1
    if name == "finished":
        assert found.confirmed.label.tolist() == ["cnn", "mlp"]
        assert found.confirmed["test/accuracy"].round(3).tolist() == [0.833, 0.329]
    assert all(getattr(found, frame) is not None for frame in FRAMES)


def test_what_is_damaged_is_named(results, tmp_path, caplog):
    sweep = results.full(tmp_path)
    (sweep.trial(1).path / "result.json").write_text("{")
    for _ in range(2):  # each call says it
        caplog.clear()
        found = hwcls.load_results(tmp_path)
        assert [record.message for record in caplog.records if "1/result.json is damaged" in record.message]
    assert found.trials.status[1] == "unfinished"
    (tmp_path / "sweep.yaml").write_text("metric: [")
    with pytest.raises(hwcls.UserError, match=r"sweep\.yaml: is damaged"):
        hwcls.load_results(tmp_path)
    with pytest.raises(hwcls.UserError, match="there is no such folder"):
        hwcls.load_results(tmp_path / "none")


def test_the_html_escapes_everything(results, tmp_path):
    sweep = results.sweep(tmp_path, name=HOSTILE)
    results.trial(sweep.trial(0), [0.5], label=HOSTILE)
    for number in range(1, 13):
        results.trial(sweep.trial(number), [0.4], label="mlp")
    found = hwcls.load_results(tmp_path)
    html = found._repr_html_() + found.best._repr_html_()
    assert "<script>" not in html
    assert "\u202e" not in html
    assert "\x1b" not in html
    assert "&lt;script&gt;" in html
    assert html.count("<tr>") == 11
    assert "3 more rows" in html


def test_a_setting_with_the_name_of_a_column_keeps_its_own_column(results, tmp_path):
    sweep = results.sweep(tmp_path)
    results.trial(sweep.trial(0), [0.5])
    path = sweep.trial(0).path / "result.json"
    write_json(path, {**sweep.trial(0).result().to_dict(), "parameters": {"epochs": 3}})
    found = hwcls.load_results(tmp_path)
    assert found.trials.loc[0, ["epochs", "parameter/epochs"]].tolist() == [1, 3]
    assert found.settings == ["parameter/epochs"]
