"""Splits of confirm runs before the start: possible, those of an earlier start, and counted."""

import numpy as np
import pytest
import yaml
from PIL import Image

from hwcls.config.space import Fixed
from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError
from hwcls.results.confirm import plan
from hwcls.results.load import load_results
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.preflight.disk_usage import DataSize, estimate_disk_usage
from hwcls.sweep.preflight.dry_run import plan_sweep, print_plan
from hwcls.sweep.preflight.model_size import ModelSize
from hwcls.sweep.preflight.prepare import check_content
from hwcls.sweep.preflight.simulate import Simulation, Waits, train_share
from hwcls.sweep.preflight.timing import TrialTime
from hwcls.sweep.preflight.validate import Options, check_sweep
from hwcls.sweep.run import confirm_plan, confirm_run
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.records import Result

FOLDS, CUTS = {"top": 1, "seeds": 4, "splits": "folds"}, {"top": 1, "seeds": 3, "splits": 3}
ONE = Resources(1, 1, 0.0, 1)


@pytest.fixture
def photos(tmp_path):
    """12 images of each of two classes; with a folder of its own for val."""

    def write(**splits):
        for split, count in (splits or {"train": 12}).items():
            for label in ("ant", "bee"):
                for number in range(count):
                    path = tmp_path / "photos" / split / label / f"{number}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    pixels = np.random.default_rng([count, number, len(path.name), label == "ant"]).integers(
                        0, 255, (16, 16, 3), np.uint8
                    )
                    Image.fromarray(pixels).save(path)
        return {"name": "imagefolder", "path": str(tmp_path / "photos"), "image_size": 16, "duplicates": "exact"}

    return write


def refused(sweep, path):
    with pytest.raises(UserError) as found:
        check_content(sweep, path / "there", path / "here", str)
    assert "\n" not in str(found.value)
    return str(found.value)


def test_folds_and_cuts_are_checked_with_the_data(tiny, tmp_path):
    for confirm, found in ((FOLDS, 2), (CUTS, 2), ({"top": 1}, 1)):
        prepared = check_content(tiny(confirm=confirm), tmp_path / "there", tmp_path / "here", str)
        assert len(prepared.data) == len(set(prepared.data.values())) == found  # other nodes cut alike
    text = refused(tiny(confirm={"top": 1, "seeds": 30, "splits": "folds"}), tmp_path)
    assert "confirm.splits: 30 folds, but only 20 images of class '0' besides test — use 20 seeds, or add" in text
    text = refused(tiny(confirm={"top": 1, "seeds": 60, "splits": "folds", "folds": 30}), tmp_path)
    assert "use 20 folds, or add" in text


def test_data_with_its_own_val_has_nothing_to_cut(tiny, photos, tmp_path):
    own = dict.fromkeys(("batch_size", "per_class"))
    data = {**own, **photos(train=8, val=3, test=3), "batch_size": 4}
    for confirm in (FOLDS, CUTS):
        text = refused(tiny(confirm=confirm, parameters={"data": data}), tmp_path)
        assert "photos brings its own val, so that train and val cannot be cut in another way — remove splits" in text
    without = tiny(parameters={"data": data})
    check_content(without, tmp_path / "there", tmp_path / "here", str)  # raises nothing


def test_splits_without_confirm_are_no_key(sweep_file):
    path = sweep_file()
    with pytest.raises(UserError, match="unknown key 'splits'"):
        load_sweep(path, sets=["splits=5"])
    assert load_sweep(path, sets=["confirm.splits=5"]).config.confirm.seeds == 5  # which is asking for confirm


def write_searched(sweep, path):
    found = SweepFolder(path / sweep.config.name)
    for number, label in enumerate(("mlp", "cnn")):
        found.trial(number).write_config(sweep.trial(Fixed({"model": label, "lr": 0.01}), seed=number))
        best = {"epoch": 1, "val/accuracy": 0.5}
        found.trial(number).write_result(Result("complete", best, label, {"lr": 0.1}, 1.0))
    (found.path / "sweep.yaml").write_text(yaml.safe_dump(sweep.resolved()))
    return found


def planned(sweep, found):
    return plan.plan_confirm(load_results(found.path), sweep.config.confirm).runs


def test_a_run_is_trained_on_its_cut_and_keeps_it(tiny, tmp_path):
    sweep = tiny(run_cap=2, confirm=FOLDS)
    found = write_searched(sweep, tmp_path)
    runs = [run for run in planned(sweep, found) if run.label == "mlp"]
    job = confirm_run.open_job(sweep, found, runs[2], ONE)
    data = job.config.data
    assert (data.folds, data.fold, data.val_seed) == (4, 3, 10_000_000)
    assert job.extra["cut"] == {"val_seed": 10_000_000, "folds": 4, "fold": 3}
    again = confirm_run.open_job(sweep, found, runs[2], ONE)  # after a kill
    assert again.config == job.config == found.confirm_run("mlp", runs[2].seed).config()
    uncut = data.model_copy(update={"folds": None, "fold": None, "val_seed": None})
    assert uncut.pixels() == found.trial(0).config().data.pixels()


def end(found, run):
    folder = found.confirm_run(run.label, run.seed)
    extra = {**folder.purpose(), "test": {"test/accuracy": 0.5}}
    folder.write_result(Result("complete", {"epoch": 1, "val/accuracy": 0.5}, run.label, {}, 1.0, extra=extra))


def test_other_splits_than_those_of_runs_that_are_there_are_refused(tiny, tmp_path):
    sweep = tiny(run_cap=2, confirm=FOLDS)
    found = write_searched(sweep, tmp_path)
    for run in planned(sweep, found):
        confirm_run.open_job(sweep, found, run, ONE)
    options = Options(results=tmp_path)
    check_sweep(sweep, options)
    for confirm in (CUTS, {"top": 1, "seeds": 4}, {**FOLDS, "seeds": 8}):
        with pytest.raises(UserError, match="have other splits than confirm says now — set splits, and with folds"):
            check_sweep(tiny(run_cap=2, confirm=confirm), options)
    check_sweep(tiny(run_cap=2, confirm={**FOLDS, "seeds": 8, "folds": 4}), options)
    check_sweep(tiny(run_cap=2, confirm=None), options)


@pytest.mark.parametrize(("confirm", "more", "after"), [(CUTS, 2, {"seeds": 5, "splits": 5, "folds": None})])
def test_more_seeds_get_further_cuts(tiny, tmp_path, confirm, more, after):
    sweep = tiny(run_cap=2, confirm=confirm)
    found = write_searched(sweep, tmp_path)
    for run in planned(sweep, found):
        confirm_run.open_job(sweep, found, run, ONE)
        end(found, run)
    again = confirm_plan.add_seeds(found.path, more)
    assert again.config.confirm.model_dump() == {"top": 1, **after}
    check_sweep(again, Options(results=tmp_path))
    new = [run.cut.val_seed for run in planned(again, found) if run.label == "mlp"]
    assert new == [10_000_000 + place for place in range(5)]


def test_more_folds_come_in_whole_rounds(tiny, tmp_path):
    sweep = tiny(run_cap=2, confirm=FOLDS)
    found = write_searched(sweep, tmp_path)
    for run in planned(sweep, found):
        confirm_run.open_job(sweep, found, run, ONE)
        end(found, run)
    with pytest.raises(UserError, match="a further round of the 4 folds has 4 runs, not 3 — write --add-seeds 4"):
        confirm_plan.add_seeds(found.path, 3)
    again = confirm_plan.add_seeds(found.path, 4)
    assert (again.config.confirm.seeds, again.config.confirm.fold_count) == (8, 4)
    check_sweep(again, Options(results=tmp_path))
    cuts = [run.cut for run in planned(again, found) if run.label == "mlp"]
    assert [cut.fold for cut in cuts] == [1, 2, 3, 4] * 2
    assert [cut.val_seed for cut in cuts] == [10_000_000] * 4 + [10_000_001] * 4


def test_the_dry_run_and_the_estimate_count_them(tiny):
    for confirm, text in (
        (FOLDS, "8 runs report them on test, each without one of 4 folds of train and val"),
        (CUTS, "6 runs report them on test, each on a cut of train and val of its own"),
    ):
        shown = []
        print_plan(plan_sweep(tiny(confirm=confirm), ()), shown.append)
        assert f"\nconfirm: {text}" in shown
    assert train_share(tiny(confirm=FOLDS)) == pytest.approx(0.75 / 0.9)
    assert train_share(tiny(confirm=CUTS)) == 1.0
    times = {label: [TrialTime(0.0, 1.0, 3)] for label in ("mlp", "cnn")}
    waits = Waits(0, 0, 0, 0, 0, 0)
    busy = {
        name: Simulation(tiny(confirm=confirm), times, waits, 1, 0).run().wall
        for name, confirm in (("folds", FOLDS), ("plain", {"top": 1, "seeds": 4}))
    }
    assert busy["plain"] - busy["folds"] == pytest.approx(2 * 4 * 3 * (1 - 0.75 / 0.9))


def test_the_predictions_of_folds_are_part_of_the_disk(tiny):
    models = {label: ModelSize(*(1000,) * 4) for label in ("mlp", "cnn")}
    data = DataSize(10, 1, 8, 100, 100, 1000)
    plain, folds = (
        estimate_disk_usage(tiny(confirm=confirm), models, data, 1).rest for confirm in ({"top": 1, "seeds": 4}, FOLDS)
    )
    assert folds - plain >= 8 * (500 - 100) * 20 + 2 * 1000 * 20
