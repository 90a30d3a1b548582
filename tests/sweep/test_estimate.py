"""The search played through under a clock of its own, and the real steps that it is played with."""

import json

import pytest
from typer.testing import CliRunner

from hwcls.sweep.estimate import TURNAROUND, Play, epoch_seconds, estimate
from hwcls.sweep.resources import Resources

COSTS = {"mlp": [1.0], "cnn": [3.0]}
ASHA = {"type": "asha", "min_iter": 1, "eta": 3}


def play(sweep, slots=1, costs=COSTS, epochs=3, seed=0):
    return Play(sweep, costs, epochs, slots, seed).run()


def test_without_early_stopping_every_epoch_is_run(tiny):
    found = play(tiny(run_cap=4))
    assert (found.trials, found.epochs) == (4, 12)
    assert found.busy == pytest.approx(2 * 3 * 1.0 + 2 * 3 * 3.0)
    assert found.wall == pytest.approx(found.busy + 4 * TURNAROUND, abs=TURNAROUND)


def test_trials_run_side_by_side(tiny):
    one, two = play(tiny(run_cap=8)), play(tiny(run_cap=8), slots=2)
    assert two.busy == one.busy
    assert two.wall == pytest.approx(one.wall / 2, rel=0.2)


def test_early_stopping_saves_epochs(tiny):
    found = play(tiny(run_cap=40, early_terminate=ASHA, parameters={"epochs": 27}), epochs=27)
    assert found.trials == 40
    assert 40 < found.epochs < 40 * 27 / 2


def test_a_budget_ends_the_search(tiny):
    found = play(tiny(run_cap=None, budget="60s"))
    assert 60 <= found.wall < 60 + 9 + TURNAROUND
    assert found.trials > 5


def test_confirm_runs_are_counted(tiny):
    found = play(tiny(run_cap=4, confirm={"top": 1, "seeds": 5}))
    assert found.epochs == 12 + 2 * 5 * 3


@pytest.mark.parametrize("goal", ["val/accuracy", "val/loss"])
def test_the_same_play_again(tiny, goal):
    sweep = tiny(run_cap=30, metric=goal, early_terminate=ASHA, parameters={"epochs": 9})
    first, again, other = (play(sweep, slots=2, epochs=9, seed=seed) for seed in (0, 0, 1))
    assert (first.wall, first.epochs) == (again.wall, again.epochs)
    assert first.epochs != other.epochs


def test_an_epoch_trains_on_train_and_scores_train_and_val(tiny, monkeypatch):
    from hwcls.config.space import Fixed
    from hwcls.data.imageset import open_data
    from hwcls.sweep import estimate as module

    asked = []

    def seconds(trial, data, batch):
        asked.append(batch)
        return 0.001 if batch == module.FEW else 0.0005

    monkeypatch.setattr(module, "_seconds_per_image", seconds)
    trial = tiny().trial(Fixed({"model": "cnn"}))
    data = open_data(trial.data)
    scored = len(data.train) + len(data.val)
    assert epoch_seconds(trial, data) == pytest.approx(0.0005 * (len(data.train) + module.FORWARD * scored))
    assert asked == [module.FEW, trial.data.batch_size]
    monkeypatch.setattr(module, "PATIENCE", 0.01)  # a whole batch would take longer: a few images must do
    assert epoch_seconds(trial, data) == pytest.approx(0.001 * (len(data.train) + module.FORWARD * scored))


def test_an_estimate_of_a_sweep(tiny):
    found = estimate(tiny(run_cap=6), Resources(1, 1, 0.0, 2))
    assert set(found.epoch_seconds) == {"mlp", "cnn"}
    assert 0 < found.seconds[0] < found.seconds[1] < 600
    assert (found.trials, found.epochs, found.gpu_hours) == (6, (18, 18), (0.0, 0.0))
    half = estimate(tiny(run_cap=6), Resources(1, 1, 0.5, 2))
    assert 0 < half.gpu_hours[0] < half.gpu_hours[1]


def test_the_dry_run_tells_it(sweep_file):
    from hwcls.cli import app, sweep  # noqa: F401

    def dry_run(*words):
        return CliRunner().invoke(app.app, ["sweep", str(sweep_file()), "--dry-run", *words])

    assert "it will take about" in dry_run().output
    assert "it will take about" not in dry_run("--no-probe").output
    found = json.loads(dry_run("--json").output)
    assert found["estimate"]["trials"] == 4
    assert json.loads(dry_run("--json", "--no-probe").output)["estimate"] is None
