"""Whole sweeps on a real Ray, in this process."""

import csv
import gc
import json
import shutil
import weakref

import numpy as np
import optuna
import pytest
import yaml
from ray.tune.execution.tune_controller import TuneController

from hwcls.config.sweep_file import load_sweep
from hwcls.config.trial import TrialConfig
from hwcls.errors import UserError
from hwcls.results.load import load_results
from hwcls.sweep.run import callback, confirm_plan
from hwcls.sweep.search import messages
from hwcls.sweep.search.messages import job_of
from hwcls.training.local import train

# Ray leaves some of its files and sockets to the garbage collector
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def without_times(found):
    return [{k: v for k, v in line.items() if k not in ("seconds", "images_per_second")} for line in found]


def test_from_file_to_page(done):
    outcome, output = done
    path = outcome.folder.path
    assert not outcome.failed
    assert sorted(p.name for p in (path / "trials").iterdir()) == ["0", "1", "2", "3"]
    for number in range(4):
        trial = path / "trials" / str(number)
        assert [line["epoch"] for line in lines(trial)] == [1, 2, 3]
        result = json.loads((trial / "result.json").read_text())
        assert result["status"] == "complete"
        assert result["label"] == ["mlp", "cnn"][number % 2] == result["parameters"]["model"]
        best = max(lines(trial), key=lambda line: line["val/accuracy"])
        assert result["best"] == {"epoch": best["epoch"], "val/accuracy": best["val/accuracy"]}
        assert (trial / "best.safetensors").stat().st_size > 0
        assert np.load(trial / "predictions.npz")["scores"].shape == (20, 10)
        assert (trial / "confusion" / "1.npz").exists()
        assert not (trial / "checkpoint.json").exists()
    splits = np.load(path / "splits.npz")
    assert not set(splits["train"]) & set(splits["val"])
    assert json.loads((path / "data.json").read_text())["classes"] == [str(i) for i in range(10)]
    board = list(csv.DictReader((path / "leaderboard.csv").read_text().splitlines()))
    assert [row["rank"] for row in board] == ["1", "2", "3", "4"]
    assert float(board[0]["val/accuracy"]) == max(float(row["val/accuracy"]) for row in board)
    assert {"trial", "label", "status", "epoch", "lr", "model"} <= board[0].keys()
    page = (path / "report.html").read_text()
    assert "tiny" in page
    assert "trial 3 (cnn) complete" in output
    assert "4 of 4" in output


def test_a_second_start_reports_that_it_has_ended(run, tiny, tmp_path):
    """It notifies nobody a second time."""
    told = tmp_path / "told"
    notify = {"command": f"""sh -c 'echo "$HWCLS_SWEEP $HWCLS_STATE $HWCLS_TRIALS" >> {told}; exit 3'"""}
    _, output = run(tiny(run_cap=2, notify=notify))
    assert told.read_text() == "tiny ended 2\n"
    assert "notify.command: sh exited with 3" in output
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "results").rglob("metrics.jsonl")}
    outcome, _ = run(tiny(run_cap=2, notify=notify))
    assert outcome.nothing_to_do
    assert told.read_text() == "tiny ended 2\n"
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "results").rglob("metrics.jsonl")} == before
    outcome, _ = run(tiny(run_cap=3))
    assert not outcome.nothing_to_do
    assert len(outcome.folder.trials()) == 3


def test_train_repeats_a_trials_numbers(done, tmp_path):
    outcome, _ = done
    for number, folder in list(outcome.folder.trials().items())[:2]:
        again = tmp_path / f"again-{number}"
        result = train(folder.config(), again, lambda line: None)
        assert without_times(lines(again)) == without_times(lines(folder.path))
        assert result.best == folder.result().best
        ours, theirs = (again / "best.safetensors").read_bytes(), (folder.path / "best.safetensors").read_bytes()
        assert ours == theirs


def test_a_trial_does_not_depend_on_those_before_it(run, tiny, tmp_path):
    """The same settings as first and as last trial of a warm worker."""
    same = {"model": "cnn", "optimizer.lr": 0.02}
    sweep = tiny(run_cap=4, compare=None, first=[same, {"model": "mlp"}, {"model": "cnn"}, same],
                 resources={"concurrent": 1}, parameters={"seed": 5})  # fmt: skip
    outcome, _ = run(sweep)
    folders = outcome.folder.trials()
    assert without_times(lines(folders[0].path)) == without_times(lines(folders[3].path))


def test_two_workers_train_one_trial(run, tiny, tmp_path):
    """Real DDP over gloo: without BatchNorm and dropout the numbers are those of one worker."""
    model = {"choice": {"mlp": {"width": 16}, "cnn": {"name": "simple_cnn", "width": 4, "norm": "none"}}}
    found = []
    for workers in (1, 2):
        sweep = tiny(name=f"workers{workers}", run_cap=2, resources={"workers": workers}, parameters={"model": model})
        outcome, _ = run(sweep)
        assert not outcome.failed
        found.append([lines(folder.path)[-1] for folder in outcome.folder.trials().values()])
        config = outcome.folder.trial(0).config()
        assert config.workers == workers
    for one, two in zip(*found, strict=True):
        for name in ("train/loss", "val/loss", "val/accuracy"):
            assert one[name] == pytest.approx(two[name], rel=1e-4), name


def test_a_failing_trial_is_retried_counted_and_explained(run, tiny, tmp_path):
    """A user's own model that breaks at a given width; the others continue, and NaN is not retried."""
    (tmp_path / "mine.py").write_text(
        "import sys\nimport torch\nfrom torch import nn\nfrom mine_layers import scaled\n\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, inputs, classes, mode):\n"
        "        super().__init__()\n"
        "        self.layer, self.mode = nn.Linear(inputs, classes), mode\n\n"
        "    def forward(self, x):\n"
        "        if self.training and self.mode == 'raise' and len(x) > 2:  # the check before the start has 2\n"
        "            raise RuntimeError('broken on purpose')\n"
        "        y = self.layer(x.flatten(1))\n"
        "        return scaled(y, self.mode)\n\n"
        "def build(classes, channels, image_size, mode):\n"
        "    if mode == 'late' and 'default_worker' in sys.argv[0]:\n"
        "        return None  # fine in the check before the start\n"
        "    return Net(channels * image_size ** 2, classes, mode)\n"
    )
    (tmp_path / "mine_layers.py").write_text(
        "def scaled(y, mode):\n    return y * float('nan') if mode == 'nan' else y\n"
    )
    modes = {"values": ["good", "raise", "nan", "late"]}
    model = {"name": f"{tmp_path}/mine.py:build", "mode": modes}
    file = {"name": "faults", "method": "grid", "max_restarts": 1, "track": []}
    path = tmp_path / "faults.yaml"
    base = {"data": {"name": "digits", "per_class": 20}, "model": model, "optimizer": "adam", "epochs": 2}
    path.write_text(yaml.safe_dump({**file, "parameters": base}))
    outcome, output = run(load_sweep(path))
    results = {t.result().parameters["mode"]: t for t in outcome.folder.trials().values()}
    assert results["good"].result().status == "complete"
    assert results["raise"].result().status == results["nan"].result().status == "failed"
    assert "broken on purpose" in results["raise"].result().error
    error = (results["raise"].path / "error.txt").read_text()
    assert 'mine.py", line 13' in error
    assert "\x1b" not in error
    assert "not finite: epoch 1, step 1" in results["nan"].result().error
    late = results["late"].result()
    assert (late.status, late.best) == ("failed", None)
    assert late.error.endswith("the function returned NoneType, not a torch.nn.Module — return the model itself")
    assert len(outcome.failed) == 3
    assert output.count("is restarted") == 1  # the one that raises, once; NaN and a UserError would fail again
    logged = (outcome.folder.path / "sweep.log").read_text()
    number = next(n for n, t in outcome.folder.trials().items() if t.result().parameters["mode"] == "raise")
    assert f"trial {number} is restarted: " in logged
    assert "the sweep has ended" in logged
    # a trial runs from the copy of the user's file in the results
    kept = {path.name for path in (outcome.folder.path / "source").rglob("*.py")}
    assert kept == {"mine.py", "mine_layers.py"}
    with open(tmp_path / "mine.py", "a") as file:
        file.write("\n# changed\n")
    with pytest.raises(UserError, match="has changed since this sweep began"):
        run(load_sweep(path, sets=["max_restarts=0", "confirm={top: 1, seeds: 1}"]))
    both = (outcome.folder.path / "sweep.log").read_text()
    assert both.startswith(logged)
    assert both.count(" hwcls.sweep.storage.environment: started: ") == 2
    assert "ended by UserError: " in both
    (tmp_path / "mine.py").unlink()
    assert train(results["good"].config(), tmp_path / "again", lambda line: None).status == "complete"
    states = [trial.state.name for trial in _study(outcome.folder.path, "faults").trials]
    assert sorted(states) == ["COMPLETE", "FAIL", "FAIL", "FAIL"]
    assert load_results(outcome.folder.path).trials


def test_tune_keeps_no_trial_that_has_ended(run, tiny, monkeypatch):
    """Nothing of a trial is left when another one starts after it; Tune's own progress view would keep all."""
    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "1")
    ended, alive, on_trial_complete = [], [], callback.RecordCallback.on_trial_complete

    def count(self, iteration, trials, trial, **info):
        gc.collect()
        alive.append(sum(one() is not None for one in ended))
        ended.append(weakref.ref(trial))
        on_trial_complete(self, iteration, trials, trial, **info)

    monkeypatch.setattr(callback.RecordCallback, "on_trial_complete", count)
    outcome, _ = run(tiny(run_cap=6, resources={"concurrent": 1}, parameters={"epochs": 1}))
    assert not outcome.failed
    assert alive == [0] * 6


def test_tune_does_not_write_all_trials_at_each_checkpoint(run, tiny, monkeypatch):
    """Its snapshot of everything is for a restore, which hwcls does from its own records."""
    snapshots, saves, kept = [], [], []
    save_to_dir, on_checkpoint = TuneController.save_to_dir, callback.RecordCallback.on_checkpoint
    keep = callback.RecordCallback._keep
    monkeypatch.setattr(TuneController, "save_to_dir", lambda self: snapshots.append(1) or save_to_dir(self))
    monkeypatch.setattr(
        callback.RecordCallback,
        "on_checkpoint",
        lambda *given, **info: saves.append(1) or on_checkpoint(*given, **info),
    )
    monkeypatch.setattr(
        callback.RecordCallback, "_keep", lambda self, job, path: kept.append(path) or keep(self, job, path)
    )
    monkeypatch.setattr(messages, "SAVE_EVERY", 0.0)
    outcome, _ = run(tiny(run_cap=4, parameters={"epochs": 6}))
    assert not outcome.failed
    assert len(saves) == 4  # at the end of each: those before are written while it trains
    assert 8 <= len(kept) <= 24
    assert snapshots == []
    assert not list(outcome.folder.path.glob("tune/*/checkpoint_*"))  # the recorder lets go of them itself


def test_early_stopping_prunes(run, tiny):
    early = {"type": "asha", "rule": "stopping", "min_iter": 1, "eta": 2}
    outcome, _ = run(tiny(run_cap=8, compare=None, early_terminate=early, parameters={"epochs": 6}))
    statuses = {n: t.result().status for n, t in outcome.folder.trials().items()}
    assert "stopped" in statuses.values()
    assert "complete" in statuses.values()
    for number, trial in enumerate(_study(outcome.folder.path, "tiny").trials):
        expected = {"stopped": "PRUNED", "complete": "COMPLETE"}[statuses[number]]
        assert trial.state.name == expected
        recorded = {line["epoch"]: line["val/accuracy"] for line in lines(outcome.folder.trial(number).path)}
        assert trial.intermediate_values == recorded


def test_confirm_scores_only_winners_on_test(run, tiny):
    """As a cross-validation: each run that reports holds out other images, and test stays."""
    confirm = {"top": 2, "seeds": 2, "splits": "folds"}
    outcome, text = run(tiny(run_cap=4, confirm=confirm))
    assert "12 runs on other cuts of train and val: 8 pick the winners" in text
    folder = outcome.folder
    runs = folder.confirm_runs()
    assert len(runs) == 2 * (2 * 2 + 2)
    roles = {key: trial.result().extra["role"] for key, trial in runs.items()}
    scored = {key for key, trial in runs.items() if "test" in trial.result().extra}
    assert scored == {key for key, role in roles.items() if role == "report"}
    assert {label for label, _ in scored} == {"mlp", "cnn"}
    assert len(scored) == 4
    for key, trial in runs.items():
        found = lines(trial.path)
        assert [line["epoch"] for line in found if "epoch" in line] == [1, 2, 3]
        assert ("test/accuracy" in found[-1]) == (key in scored)
        if key in scored:
            stored = np.load(trial.path / "test_predictions.npz")
            accuracy = (stored["scores"].argmax(1) == stored["labels"]).mean()
            assert accuracy == pytest.approx(trial.result().extra["test"]["test/accuracy"], abs=0.01)
        assert trial.config().seed == key[1]
    about = json.loads((folder.path / "best/best.json").read_text())
    assert about["run"] in {f"confirm/{label}/{seed}" for label, seed in scored}
    assert f"Best weights: {folder.path / 'best'} (seed {about['seed']}" in (folder.path / "report.html").read_text()
    shutil.rmtree(folder.path / "best")  # as a kill just before it was written
    again, _ = run(tiny(run_cap=4, confirm=confirm))
    assert again.nothing_to_do
    assert json.loads((folder.path / "best/best.json").read_text()) == about
    splits = np.load(folder.path / "splits.npz")
    pool = np.sort(np.concatenate([splits["train"], splits["val"]]))
    for label in ("mlp", "cnn"):
        own = [trial.path for (name, seed), trial in runs.items() if name == label and (name, seed) in scored]
        held_out = np.concatenate([np.load(path / "predictions.npz")["rows"] for path in own])
        assert np.array_equal(np.sort(held_out), pool)
        assert np.array_equal(np.load(own[0].parent / "out_of_fold.npz")["rows"], pool)
        assert {len(np.load(path / "test_predictions.npz")["labels"]) for path in own} == {len(splits["test"])}
    assert about["trained_on"] == "1 of 2 folds of at most 20 training images of each class"
    more, _ = run(confirm_plan.add_seeds(folder.path, 2))
    assert not more.nothing_to_do
    assert set(runs) < set(folder.confirm_runs())
    assert len(folder.confirm_runs()) == 16  # another round of each winner
    assert json.loads((folder.path / "best/best.json").read_text())["seeds"] == 4


def _study(path, name):
    backend = optuna.storages.journal.JournalFileBackend(str(path / "study.journal"))
    return optuna.load_study(study_name=name, storage=optuna.storages.JournalStorage(backend))


def test_config_of_a_trial_is_complete(done):
    outcome, _ = done
    values = yaml.safe_load((outcome.folder.path / "trials" / "0" / "config.yaml").read_text())
    config = TrialConfig.from_dict(values)
    assert config.to_dict() == values
    assert {
        "data",
        "model",
        "optimizer",
        "scheduler",
        "epochs",
        "seed",
        "metric",
        "workers",
        "threads",
    } <= values.keys()


def test_a_user_stops_a_trial(run, tiny, monkeypatch):
    """As the Stop button of W&B does: that trial ends after its epoch, the others continue."""
    begun = callback.RecordCallback.on_trial_start

    def ask(self, iteration, trials, trial, **info):
        begun(self, iteration, trials, trial, **info)
        if job_of(trial).key == "trials/0":
            self._folder(job_of(trial)).request_stop()

    monkeypatch.setattr(callback.RecordCallback, "on_trial_start", ask)
    outcome, output = run(tiny(run_cap=2, compare=None))
    stopped, complete = (trial.result() for trial in outcome.folder.trials().values())
    assert (stopped.status, complete.status) == ("stopped_by_user", "complete")
    assert stopped.best["epoch"] == 1
    assert len(outcome.folder.trial(0).records()) == 1
    sizes = {"parameters", "flops", "receptive_field", "batch_size"}
    assert sizes | {"inference_ms", "memory_mb", "idle_share"} == complete.extra["cost"].keys()
    assert complete.extra["cost"]["inference_ms"] > 0
    states = [trial.state.name for trial in _study(outcome.folder.path, "tiny").trials]
    assert states == ["PRUNED", "COMPLETE"]
    assert "trial 0 stopped by user" in output
