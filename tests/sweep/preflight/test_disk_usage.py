"""The bound on a sweep's disk: against the models by hand, and against what real sweeps write."""

import itertools
import threading
from pathlib import Path, PurePath

import optuna
import pytest

from hwcls.config.optim import MetricConfig
from hwcls.errors import UserError
from hwcls.results.load import load_results
from hwcls.sweep.monitor.logs import log_to_file
from hwcls.sweep.monitor.progress import Lines
from hwcls.sweep.preflight import disk_usage, prepare
from hwcls.sweep.preflight.disk_usage import DataSize, check_results_disk, folder_size
from hwcls.sweep.preflight.model_size import ModelSize, largest_models, measure_model
from hwcls.tracking.records import Result

SHAPE = DataSize(10, 1, 8, 20, 30)


def of(sweep, concurrent=2):
    weights = largest_models(sweep, lambda trial: measure_model(trial, 10, 1, 8))
    return disk_usage.estimate_disk_usage(sweep, weights, SHAPE, concurrent)


def mlp(*widths, inputs=64, classes=10):
    """Bytes of a fully connected net in float32."""
    sizes = [inputs, *widths, classes]
    return 4 * sum(a * b + b for a, b in itertools.pairwise(sizes))


def test_the_largest_model_of_each_alternative(tiny):
    head = {"depth": {"min": 1, "max": 3}, "width": {"values": [8, 32]}, "dropout": {"min": 0.0, "max": 0.5}}
    body = {"name": "mlp", "width": {"min": 4, "max": 64}, "depth": {"min": 1, "max": 2}}
    choice = {"small": {"name": "mlp", "width": 16, "depth": 1}, "large": body}
    optimizer = {"choice": {"sgd": {"lr": 0.1}, "adam": {"lr": 0.1}}}
    sweep = tiny(parameters={"model": {"head": head, "choice": choice}, "optimizer": optimizer, "ema": 0.9})
    found = largest_models(sweep, lambda trial: measure_model(trial, 10, 1, 8))
    assert found["small"].all == mlp(16, 32, 32)
    assert found["large"].all == found["large"].trained == mlp(64, 64, 32, 32)
    assert found["large"].layers == 5
    assert (found["large"].moments, found["large"].averaged) == (2, True)
    assert found["large"].state == 4 * found["large"].all  # weights, their average and Adam's two moments


def test_a_setting_that_only_matters_beside_another(tiny):
    """A head's width does nothing while it has one layer: the widest is taken all the same."""
    head = {"width": {"min": 8, "max": 500}, "depth": {"values": [2, 1]}}
    sweep = tiny(compare=None, parameters={"model": {"name": "mlp", "width": 16, "depth": 1, "head": head}})
    assert largest_models(sweep, lambda trial: measure_model(trial, 10, 1, 8))[None].all == mlp(16, 500)


def test_models_of_a_sweep_that_compares_something_else(tiny):
    batches = {"name": "digits", "batch_size": {"values": [32, 64]}, "per_class": 20}
    sweep = tiny(compare="data.batch_size", parameters={"data": batches})
    found = largest_models(sweep, lambda trial: measure_model(trial, 10, 1, 8))
    assert set(found) == {"32", "64"}
    assert found["32"] == found["64"]


def test_sgd_without_momentum_keeps_nothing(tiny):
    sweep = tiny(parameters={"optimizer": {"name": "sgd", "momentum": 0.0}})
    found = largest_models(sweep, lambda trial: measure_model(trial, 10, 1, 8))
    assert found["mlp"].moments == 0


def test_what_makes_the_bound_grow(tiny):
    base = of(tiny())
    assert of(tiny(run_cap=8)).trials == 2 * base.trials
    assert of(tiny(), concurrent=4).running == 2 * base.running
    assert of(tiny(keep="none")).trials < base.trials < of(tiny(keep="all")).trials
    assert of(tiny(track=["wandb"])).total > base.total
    confirmed = of(tiny(confirm={"top": 2, "seeds": 3}, keep="none"))
    assert confirmed.rest > base.rest  # they are scored, so their weights are kept for a while


def test_paused_trials_keep_a_checkpoint(tiny):
    """Of 60 trials of each alternative, and 9 epochs, 54 may wait until six are at their end."""
    stopping, promotion = ({"type": "asha", "rule": rule} for rule in ("stopping", "promotion"))
    more = {"run_cap": 120, "parameters": {"epochs": 9}}
    plain, paused = (of(tiny(early_terminate=early, **more)) for early in (stopping, promotion))
    assert (paused.trials, paused.each) == (plain.trials, plain.each)
    timed = {"run_cap": None, "budget": 60, "parameters": {"epochs": 9}}
    each = [of(tiny(early_terminate=early, **timed)).each for early in (stopping, promotion)]
    assert paused.running - plain.running == 2 * 54 * (each[1] - each[0]) > 0  # of a trial in any number of them


def test_a_time_budget_bounds_each_trial_alone(tiny):
    found = of(tiny(run_cap=None, budget=60))
    assert (found.trials, found.total) == (None, None)
    assert found.each == pytest.approx(of(tiny(run_cap=2)).trials / 2, rel=0.1)
    assert "for each trial" in str(found)


def test_a_grid_counts_its_points(tiny):
    widths = {"choice": {"a": {"name": "mlp", "width": {"values": [4, 8]}}, "b": {"name": "mlp", "width": 4}}}
    sweep = tiny(method="grid", run_cap=None, parameters={"model": widths, "optimizer": {"name": "adam", "lr": 0.1}})
    assert disk_usage.max_trials(sweep) == {"a": 2, "b": 1}


def test_a_disk_that_is_too_small(tiny, tmp_path, monkeypatch):
    from collections import namedtuple

    found = of(tiny())
    Usage = namedtuple("Usage", "total used free")

    def free(count):
        monkeypatch.setattr(disk_usage.shutil, "disk_usage", lambda path: Usage(10**12, 0, count))

    free(found.total)
    assert check_results_disk(found, tmp_path) is None
    free(found.total - 10_000)
    assert "the disk has only" in check_results_disk(found, tmp_path)
    (tmp_path / "part").write_bytes(b"x" * 20_000)  # what is there already is part of the bound
    assert check_results_disk(found, tmp_path) is None
    free(found.running)
    with pytest.raises(UserError, match="the trials that run at once need up to"):
        check_results_disk(found, tmp_path)


def test_a_trial_logs_no_more_than_the_bound_counts(tmp_path):
    lines = Lines(MetricConfig(name="val/accuracy"), 4)
    parameters = {f"optimizer.parameter_{i}": 0.12345 for i in range(10)}
    with log_to_file(tmp_path / "sweep.log"):
        for restart in range(3):
            lines.started("trials/1", "an_alternative", parameters, 3 * restart, 9)
            lines.restarted("trials/1", "a rank died: killed, crashed, or its node is gone")
        best = {"epoch": 2, "val/accuracy": 0.5}
        lines.ended("trials/1", Result("complete", best, "an_alternative", parameters, 1.0))
    assert (tmp_path / "sweep.log").stat().st_size < disk_usage.LOG


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("keep", "files"),
    [
        pytest.param("none", set(), marks=pytest.mark.slow),
        pytest.param("best", {"best"}, marks=pytest.mark.heavy),
        pytest.param("all", {"best", "last"}, marks=pytest.mark.slow),
    ],
)
def test_a_real_sweep_never_takes_more(run, tiny, tmp_path, keep, files):
    """17 MB of weights, so that one file too many cannot hide; by a metric that is minimised, in its short form."""
    model = {"choice": {"wide": {"name": "mlp", "width": 2048, "depth": 2}, "thin": {"name": "mlp", "width": 8}}}
    confirm = {"top": 1, "seeds": 2}
    sweep = tiny(run_cap=4, metric="val/loss", keep=keep, confirm=confirm, parameters={"model": model, "epochs": 2})
    seen, ended = [0], threading.Event()

    def watch():
        while not ended.wait(0.05):
            seen.append(folder_size(tmp_path / "results"))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        outcome, said = run(sweep)
    finally:
        ended.set()
        thread.join()
    sets = prepare.open_data_sets(sweep.corners, sweep.source)
    weights, shape = prepare.measure_sizes(sweep, sets, {})
    most, wide = disk_usage.estimate_disk_usage(sweep, weights, shape, 2), weights["wide"].all
    assert str(most) in said
    assert wide > 17_000_000
    assert max(seen) <= most.total
    left = folder_size(outcome.folder.path)
    assert left <= most.trials + most.rest
    kept = {"none": 0, "best": 2 + 2, "all": 2 * 2 + 2}[keep]  # two trials and two confirm runs; best/ is thin
    assert kept * wide <= left <= kept * wide + disk_usage.BASE
    assert not (outcome.folder.path / "tune").exists()
    assert not outcome.failed
    for trial in outcome.folder.trials().values():
        values = {line["epoch"]: line["val/loss"] for line in trial.records()}
        best = min(values, key=values.get)
        assert trial.result().best == {"epoch": best, "val/loss": values[best]}
        assert {path.stem for path in trial.path.glob("*.safetensors")} == files
    found = load_results(outcome.folder.path)
    assert found.goal == "minimize"
    ranked = [trial.value for trial in found.ranked()]
    assert ranked == sorted(ranked)
    backend = optuna.storages.journal.JournalFileBackend(str(outcome.folder.path / "study.journal"))
    study = optuna.load_study(study_name="tiny", storage=optuna.storages.JournalStorage(backend))
    assert study.direction.name == "MINIMIZE"
    scored = [run for run in outcome.folder.confirm_runs().values() if "test" in run.result().extra]
    assert len(scored) == 4
    assert all((run.path / "best.safetensors").exists() == (keep != "none") for run in scored)


def test_leftovers_of_earlier_starts_go(tmp_path):
    from hwcls.sweep.storage.results_folder import drop_leftovers
    from hwcls.tracking.folders import SweepFolder

    tune = tmp_path / "tune"
    for name in ("trials-0-a/checkpoint_000001", "trials-0-a/checkpoint_000002", "trials-1-b/checkpoint_000000"):
        (tune / name).mkdir(parents=True)
    (tune / "experiment_state.json").write_text("{}")
    sweep = SweepFolder(tmp_path)
    sweep.trial(0).path.mkdir(parents=True)
    (sweep.trial(0).path / "config.yaml").write_text("x: 1")
    sweep.trial(0).add_checkpoint(str(tune / "trials-0-a/checkpoint_000002"))
    drop_leftovers(sweep)
    assert [str(path.relative_to(tune)) for path in sorted(tune.rglob("*"))] == [
        *("trials-0-a", "trials-0-a/checkpoint_000002"),
    ]


def test_a_checkpoint_that_was_written_just_before_a_driver_ended_is_kept(tmp_path):
    from hwcls.sweep.storage.results_folder import drop_leftovers
    from hwcls.tracking.folders import SweepFolder

    sweep, found = SweepFolder(tmp_path), {}
    (tmp_path / "sweep.yaml").write_text("name: x\n")
    for run, name in ((sweep.trial(0), "trials-0"), (sweep.confirm_run("mlp", 7), "confirm-mlp-7")):
        run.path.mkdir(parents=True)
        (run.path / "config.yaml").write_text("x: 1")
        for epoch in ("03", "06", "09.tmp", "12"):
            folder = tmp_path / f"tune/{name}/checkpoint_0000{epoch}"
            folder.mkdir(parents=True)
            (folder / ("best.safetensors" if epoch == "12" else "state.pt")).touch()
        run.add_checkpoint(str(tmp_path / f"tune/{name}/checkpoint_000003"))
        found[name] = run
    for _ in range(2):
        drop_leftovers(sweep)
        for name, run in found.items():
            kept = [Path(path).name for path in run.checkpoints()]
            assert kept == ["checkpoint_000006", "checkpoint_000003"]
            assert {path.name for path in (tmp_path / "tune" / name).iterdir()} == set(kept)


@pytest.mark.parametrize("registered", [True, False])
def test_a_trial_that_has_ended_keeps_no_checkpoint(tmp_path, registered):
    """Its driver was killed between the result and the removal."""
    from hwcls.sweep.storage.results_folder import drop_leftovers
    from hwcls.tracking.folders import SweepFolder
    from hwcls.tracking.records import Result

    (tmp_path / "sweep.yaml").write_text("name: x\n")
    sweep, saved = SweepFolder(tmp_path), tmp_path / "tune/trials-0/checkpoint_000005"
    trial = sweep.trial(0)
    trial.path.mkdir(parents=True)
    (trial.path / "config.yaml").write_text("x: 1")
    trial.write_result(Result("complete", None, "x", {}, 1.0))
    saved.mkdir(parents=True)
    (saved / "state.pt").touch()
    if registered:
        trial.add_checkpoint(str(saved))
    drop_leftovers(sweep)
    assert list((tmp_path / "tune").iterdir()) == []
    assert not (trial.path / "checkpoint.json").exists()


def test_a_start_compares_no_folder_of_tune_with_each_checkpoint(tmp_path, monkeypatch):
    """Thousands of trials have left one, and thousands of paused ones a checkpoint."""
    from hwcls.sweep.storage.results_folder import drop_leftovers
    from hwcls.tracking.folders import SweepFolder

    sweep, looks, parents = SweepFolder(tmp_path), [], PurePath.parents.fget
    for number in range(5):
        (tmp_path / f"tune/trials-{number}-a/checkpoint_000001").mkdir(parents=True)
        sweep.trial(number).path.mkdir(parents=True)
        (sweep.trial(number).path / "config.yaml").write_text("x: 1")
        sweep.trial(number).add_checkpoint(str(tmp_path / f"tune/trials-{number}-a/checkpoint_000001"))
    monkeypatch.setattr(PurePath, "parents", property(lambda path: looks.append(path) or parents(path)))
    drop_leftovers(sweep)
    few = len(looks)
    for number in range(5, 50):
        (tmp_path / f"tune/trials-{number}-a").mkdir()
    looks.clear()
    drop_leftovers(sweep)
    assert len(looks) == few
    assert len(list((tmp_path / "tune").iterdir())) == 5


def test_weights_and_their_header():
    assert ModelSize(1000, 800, 4, 2).file > 1000
    assert ModelSize(1000, 800, 4, 2, moments=0).state == 1000
