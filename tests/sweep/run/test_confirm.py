import pytest
import yaml

from hwcls.config.space import Fixed
from hwcls.errors import UserError
from hwcls.sweep.run import confirm_plan, confirm_run
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.records import Result


@pytest.fixture
def folder(tiny, tmp_path):
    """A searched sweep: four trials of each alternative, one failed."""
    found = SweepFolder(tmp_path / "2024")  # a name that YAML reads as a number
    sweep = tiny(confirm={"top": 2, "seeds": 3})
    values = {0: ("mlp", 0.5), 1: ("cnn", 0.6), 2: ("mlp", 0.9), 3: ("cnn", 0.7), 4: ("mlp", 0.8), 5: ("cnn", 0.65)}
    for number, (label, value) in values.items():
        trial = found.trial(number)
        trial.write_config(sweep.trial(Fixed({"model": label}), seed=number))
        trial.write_result(Result("complete", {"epoch": 1, "val/accuracy": value}, label, {"lr": 0.1}, 1.0))
    found.trial(6).write_config(sweep.trial(Fixed({"model": "mlp"})))
    found.trial(6).write_result(Result("failed", None, "mlp", {}, 1.0, error="x"))
    return sweep, found


def test_the_top_of_each_alternative_on_fresh_seeds(folder):
    sweep, found = folder
    runs = confirm_plan.plan_runs(sweep, found)
    assert {(run.label, run.trial) for run in runs} == {("mlp", 2), ("mlp", 4), ("cnn", 3), ("cnn", 5)}
    assert len({run.seed for run in runs}) == 12
    assert min(run.seed for run in runs) >= confirm_plan.FIRST_SEED
    assert confirm_plan.plan_runs(sweep, found) == runs


def test_jobs_are_what_has_no_result(folder):
    from hwcls.sweep.cluster.resources import Resources

    sweep, found = folder
    runs = confirm_plan.plan_runs(sweep, found)
    done = runs[0]
    found.confirm_run(done.label, done.seed).write_result(Result("complete", None, done.label, {}, 1.0))
    jobs = confirm_run.open_jobs(found, runs, Resources(1, 1, 0.0, 1), 600.0)
    assert len(jobs) == 11
    assert jobs[0].config.seed == runs[1].seed
    assert jobs[0].extra == {"trial": runs[1].trial}
    assert confirm_plan.is_incomplete(sweep, found)


def test_winners_by_their_mean_on_val(folder):
    sweep, found = folder
    runs = confirm_plan.plan_runs(sweep, found)
    for run in runs:
        value = {2: 0.7, 4: 0.8, 3: 0.9, 5: 0.4}[run.trial] + 0.01 * (run.seed % 3)
        best = {"epoch": 1, "val/accuracy": value}
        found.confirm_run(run.label, run.seed).write_result(Result("complete", best, run.label, {}, 1.0))
    assert confirm_plan.find_winners(found, runs, "val/accuracy", "maximize") == {"mlp": 4, "cnn": 3}
    assert confirm_plan.find_winners(found, runs, "val/accuracy", "minimize") == {"mlp": 2, "cnn": 5}


def test_more_seeds_are_added_once_the_planned_ones_are_done(folder):
    sweep, found = folder
    with pytest.raises(UserError, match="no sweep here"):
        confirm_plan.add_seeds(found.path, 2)
    (found.path / "sweep.yaml").write_text(yaml.safe_dump(sweep.resolved()))
    assert confirm_plan.add_seeds(found.path, 2).config.confirm.seeds == 3  # those that were asked for come first
    for run in confirm_plan.plan_runs(sweep, found):
        best = {"epoch": 1, "val/accuracy": 0.5}
        scored = {"test": {"test/accuracy": 0.5}}
        found.confirm_run(run.label, run.seed).write_result(Result("complete", best, run.label, {}, 1.0, extra=scored))
    again = confirm_plan.add_seeds(found.path, 2)
    assert (again.config.confirm.top, again.config.confirm.seeds) == (2, 5)
    assert confirm_plan.is_incomplete(again, found)
    assert again.config.name == found.path.name
    (found.path / "sweep.yaml").write_text(yaml.safe_dump({**sweep.resolved(), "confirm": None}))
    assert confirm_plan.add_seeds(found.path, 0).config.confirm.seeds == 5
    with pytest.raises(UserError, match="at least 2 seeds are needed"):
        confirm_plan.add_seeds(found.path, 1)
    found.trial(7).write_config(sweep.trial(Fixed({"model": "mlp"})))
    with pytest.raises(UserError, match="the search has not ended"):
        confirm_plan.add_seeds(found.path, 2)


def test_no_confirm_is_nothing_to_do(tiny, folder):
    _, found = folder
    assert not confirm_plan.is_incomplete(tiny(), found)
