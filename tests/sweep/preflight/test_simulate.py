"""The search played through under a clock of its own."""

import json

import pytest
from typer.testing import CliRunner

from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.preflight.simulate import (
    ERROR,
    MAX_TIMED,
    Simulation,
    Waits,
    _range,
    _sample_trials,
    estimate_duration,
    feature_seconds,
)
from hwcls.sweep.preflight.timing import Timing, TrialTime
from hwcls.sweep.search.stopping.promotion import expected_epochs

COSTS = {"mlp": 1.0, "cnn": 3.0}  # seconds of an epoch
ASHA = {"type": "asha", "rule": "stopping", "min_iter": 1, "eta": 3}
AT_ONCE = Waits(0, 0, 0, 0, 0, 0)


def play(sweep, slots=1, costs=COSTS, epochs=3, seed=0, waits=AT_ONCE, build=0.0):
    costs = {label: [TrialTime(build, seconds, epochs)] for label, seconds in costs.items()}
    return Simulation(sweep, costs, waits, slots, seed).run()


def test_without_early_stopping_every_epoch_is_run(tiny):
    found = play(tiny(run_cap=4))
    assert (found.trials, found.epochs) == (4, 12)
    assert found.wall == found.busy == pytest.approx(2 * 3 * 1.0 + 2 * 3 * 3.0)


def test_an_alternative_that_was_not_timed_is_as_the_others(tiny):
    constant = {"optimizer": {"name": "adam", "lr": 0.01}}
    found = play(tiny(method="grid", run_cap=None, parameters=constant), costs={"mlp": 2.0})
    assert (found.trials, found.epochs, found.busy) == (2, 6, pytest.approx(2 * 3 * 2.0))
    assert play(tiny(run_cap=4), costs={"mlp": 2.0}).busy == pytest.approx(4 * 3 * 2.0)


def test_what_is_waited_for_comes_on_top(tiny):
    """Once, for each trial but the first of a group, for each epoch; confirm starts its group anew."""
    waits = Waits(before=1000, group=100, score=7000, after=2000, turnaround=10, record=1)
    found = play(tiny(run_cap=4), waits=waits, build=0.25)
    assert found.wall == pytest.approx(24 + 1000 + 100 + 2000 + 3 * 10 + 12 * 1 + 4 * 0.25)
    assert found.busy == pytest.approx(24)
    more = play(tiny(run_cap=4, confirm={"top": 1, "seeds": 2}), waits=waits, build=0.25)
    assert more.wall - found.wall == pytest.approx(24 + 100 + 7000 + 3 * 10 + 12 * 1 + 4 * 0.25)


def test_several_ranks_of_a_group_start_from_another_process():
    one, two, four = (Waits.from_start(10.0, workers) for workers in (1, 2, 4))
    assert one.group == pytest.approx(2 * two.group)
    assert two == four


def test_a_range_holds_every_play_and_the_error():
    assert _range([10.0] * 5) == pytest.approx((10 * ERROR[0], 10 * ERROR[1]))
    low, high = _range([5.0, 10.0, 20.0])
    assert 5 * ERROR[0] < low < 5
    assert 20 < high < 20 * ERROR[1]
    assert _range([0.0, 0.0]) == (0.0, 0.0)


def test_features_are_computed_by_the_processes_of_all_trials_at_once():
    timing = Timing(1.0, {}, (0.02, 0.1))
    assert feature_seconds([1_000, 400], timing, Resources(2, 1, 0.0, 2)) == pytest.approx([5.0, 10.0])


def test_trials_run_side_by_side(tiny):
    one, two = play(tiny(run_cap=8)), play(tiny(run_cap=8), slots=2)
    assert two.busy == one.busy
    assert two.wall == pytest.approx(one.wall / 2, rel=0.2)
    more = play(tiny(run_cap=2), slots=9)
    assert more.wall == pytest.approx(9.0)


def test_early_stopping_saves_epochs(tiny):
    found = play(tiny(run_cap=40, early_terminate=ASHA, parameters={"epochs": 27}), epochs=27)
    assert found.trials == 40
    assert 40 < found.epochs < 40 * 27 / 2


def test_a_budget_ends_the_search_and_groups_start_within_it(tiny):
    found = play(tiny(run_cap=None, budget="60s"))
    assert 60 <= found.wall < 60 + 9
    assert found.trials > 5
    later = play(tiny(run_cap=None, budget="60s"), waits=Waits(5, 40, 0, 0, 0, 0))
    assert 65 <= later.wall < 65 + 9
    assert later.trials < found.trials


@pytest.mark.parametrize(("share", "mlp"), [("trials", 1 / 2), ("epochs", 1 / 2), ("seconds", 3 / 4)])
def test_alternatives_get_equally_much(tiny, share, mlp):
    found = play(tiny(run_cap=40, share=share))
    assert found.spent["trials"]["mlp"] / found.trials == pytest.approx(mlp, abs=0.05)


def test_a_grid_is_played_with_its_own_points(tiny):
    """Branches of unequal size are not tried equally often."""
    choice = {"mlp": {"width": 16}, "cnn": {"name": "simple_cnn", "width": {"values": [2, 4, 8]}}}
    model = {"head": {"width": 8}, "choice": choice}
    sweep = tiny(method="grid", run_cap=None, parameters={"model": model, "optimizer": "adam"})
    found = play(sweep)
    assert found.spent["trials"] == {"mlp": 1, "cnn": 3}
    assert sorted(label for label, _ in _sample_trials(sweep)) == ["cnn", "cnn", "cnn", "mlp"]


def test_what_may_be_tried_takes_turns(tiny):
    found = _sample_trials(tiny())
    assert [label for label, _ in found[:4]] == ["mlp", "cnn", "mlp", "cnn"]
    assert len(found) == 2 * MAX_TIMED
    assert len({trial.optimizer.lr for _, trial in found}) == 2 * MAX_TIMED


def test_what_no_trial_can_be_is_not_tried(tiny):
    """Of batches and groups that no corner of the space pairs, those that do not fit are left out, as in the search."""
    data = {"name": "digits", "per_class": 20, "batch_size": {"values": [64, 96, 48]}}
    found = _sample_trials(tiny(parameters={"data": data, "norm_batch": {"values": [16, 32]}}))
    assert 0 < len(found) < 2 * MAX_TIMED
    assert all(trial.data.batch_size % trial.norm_batch == 0 for _, trial in found)


def test_confirm_runs_are_counted(tiny):
    found = play(tiny(run_cap=4, confirm={"top": 1, "seeds": 5}))
    assert found.epochs == 12 + 2 * 5 * 3
    few = play(tiny(run_cap=2, confirm={"top": 9, "seeds": 5}))
    assert few.epochs == 6 + 2 * 5 * 3  # a single trial of each: nothing to pick
    picked = play(tiny(run_cap=8, confirm={"top": 3, "seeds": 5}))
    assert picked.epochs == 24 + 2 * (3 * 2 + 5) * 3


@pytest.mark.parametrize("goal", ["val/accuracy", "val/loss"])
def test_the_same_play_again(tiny, goal):
    sweep = tiny(run_cap=30, metric=goal, early_terminate=ASHA, parameters={"epochs": 9})
    first, again, other = (play(sweep, slots=2, epochs=9, seed=seed) for seed in (0, 0, 1))
    assert (first.wall, first.epochs) == (again.wall, again.epochs)
    assert first.epochs != other.epochs


@pytest.mark.slow
def test_an_estimate_of_a_sweep(tiny):
    found = estimate_duration(tiny(run_cap=6), Resources(1, 1, 0.0, 2))
    assert set(found.epoch_seconds) == {"mlp", "cnn"}
    assert 0 < found.seconds[0] < found.seconds[1]
    assert 0 < found.trial_seconds[0] < found.trial_seconds[1]
    assert 0 < found.start_seconds[0] < found.seconds[0]  # the start is part of the command
    assert found.start_seconds[1] < found.seconds[1]
    assert (found.trials, found.epochs, found.gpu_hours) == (6, (18, 18), (0.0, 0.0))


@pytest.mark.slow
def test_the_dry_run_tells_it(sweep_file):
    from hwcls.cli.main import app

    def dry_run(*words):
        return CliRunner().invoke(app, ["sweep", str(sweep_file(resources={"concurrent": 9})), "--dry-run", *words])

    told = dry_run().output
    assert "it will take about" in told
    assert "until the first trial trains" in told
    assert "note: 9 trials at once do not fit" in told
    assert json.loads(dry_run("--json").output)["estimate"]["trials"] == 4


def test_without_a_probe_it_tells_nothing_of_time(sweep_file):
    from hwcls.cli.main import app

    words = ["sweep", str(sweep_file()), "--dry-run", "--no-probe"]
    assert "it will take about" not in CliRunner().invoke(app, words).output
    assert json.loads(CliRunner().invoke(app, [*words, "--json"]).output)["estimate"] is None


PROMOTION = {"type": "asha", "rule": "promotion"}


def test_trials_that_pause_go_on(tiny):
    """Of 27 trials about a third continues from each rung; all slots are busy but at the end."""
    sweep = tiny(run_cap=27, compare=None, early_terminate=PROMOTION, parameters={"epochs": 27})
    found = play(sweep, slots=4, costs={"every trial": 1.0}, epochs=27)
    assert found.trials == 27
    expected = expected_epochs([1, 3, 9], 27, 3, 27)
    assert expected <= found.epochs <= 2 * expected
    assert not found.running
    assert all(key in found.waiting for key in found.paused)  # they end where they wait
    assert found.wall >= found.busy / 4


def test_a_time_budget_ends_with_what_is_paused(tiny):
    sweep = tiny(run_cap=None, budget=200, compare=None, early_terminate=PROMOTION, parameters={"epochs": 27})
    found = play(sweep, costs={"every trial": 1.0}, epochs=27)
    assert 195 <= found.wall <= 200 + 18
    assert found.trials < 200


@pytest.mark.parametrize("seed", range(5))
def test_pausing_leaves_the_shares_as_they_are(tiny, seed):
    sweep = tiny(run_cap=None, budget=300, early_terminate=PROMOTION, parameters={"epochs": 9})
    found = play(sweep, slots=2, epochs=9, seed=seed)
    assert found.spent["seconds"]["mlp"] == pytest.approx(found.spent["seconds"]["cnn"], rel=0.15)


@pytest.mark.parametrize(("limit", "wider"), [({"budget": 200, "run_cap": None}, True), ({"run_cap": 6}, False)])
def test_epochs_in_a_time_budget_are_as_uncertain_as_their_seconds(tiny, monkeypatch, limit, wider):
    """Half as many fit where trials take twice as long as measured; a number of trials stays what it is."""
    sweep = tiny(compare=None, **limit)
    measured = Timing(1.0, {"every trial": [TrialTime(0.0, 1.0, 3)]})
    monkeypatch.setattr("hwcls.sweep.preflight.simulate.time_trials", lambda *given: measured)
    low, high = estimate_duration(sweep, Resources(1, 1, 0.0, 1)).epochs
    if wider:
        assert low == pytest.approx(200 / ERROR[1], rel=0.1)
        assert high == pytest.approx(200 / ERROR[0], rel=0.1)
    else:
        assert low == high == 18
