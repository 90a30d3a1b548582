"""A sweep on photos of several sizes without `image_size`: one size for all trials, said and recorded."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from hwcls.cli.main import app
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.preflight.prepare import prepare
from hwcls.sweep.preflight.validate import Options, check_sweep
from hwcls.sweep.search.job_builder import JobBuilder
from hwcls.tracking.folders import SweepFolder
from hwcls.training import local

SIZES = ((90, 60), (60, 90), (80, 80))


def write_photos(folder, sizes=SIZES, first=0):
    """Photos of several sizes, colour and grey."""
    random = np.random.default_rng(first)
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for i, (width, height) in enumerate(sizes * 2, first):
                shape = (height, width, 3) if i % 2 else (height, width)
                Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(folder / split / name / f"{i}.png")


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    write_photos(tmp_path / "photos")
    return tmp_path / "photos"


def own(tiny, photos, **changes):
    data = {"name": "imagefolder", "path": str(photos), "per_class": None, **changes}
    return tiny(parameters={"data": data})


def test_one_size_for_every_trial_is_said_and_recorded(tiny, photos, tmp_path):
    options = Options(results=tmp_path / "results")
    sweep = check_sweep(own(tiny, photos), options)
    assert {trial.data.image_size for trial in sweep.corners} == {56}
    folder = SweepFolder(tmp_path / "results" / "tiny")
    prepare(sweep, folder.path)
    data = json.loads((folder.path / "data.json").read_text())
    assert (data["image_size"], data["channels"]) == (56, 3)
    assert data["image_size_reason"] == "the images' median is 90 x 60, of which 56 is about the short side"
    builder = JobBuilder(sweep, folder, Resources(1, 1, 1, 0.0), {})
    builder.build(0, {"model": "mlp", "optimizer.lr": 0.01}, lambda: None)
    assert folder.trial(0).settings()["data"]["image_size"] == 56
    (folder.path / "sweep.yaml").write_text(yaml.safe_dump(own(tiny, photos).resolved()))
    again = check_sweep(own(tiny, photos), options)
    assert again.image_sizes["imagefolder"].reason != data["image_size_reason"]
    prepare(again, folder.path)  # the reason of the first start stays
    assert json.loads((folder.path / "data.json").read_text()) == data


def test_a_resumed_sweep_keeps_its_size(tiny, photos, tmp_path):
    options = Options(results=tmp_path / "results")
    folder = SweepFolder(tmp_path / "results" / "tiny")
    builder = JobBuilder(check_sweep(own(tiny, photos), options), folder, Resources(1, 1, 1, 0.0), {})
    builder.build(0, {"model": "mlp", "optimizer.lr": 0.01}, lambda: None)
    (folder.path / "sweep.yaml").write_text(yaml.safe_dump(own(tiny, photos).resolved()))
    write_photos(photos, ((300, 200),) * 9, first=100)
    again = check_sweep(own(tiny, photos), options)
    assert {trial.data.image_size for trial in again.corners} == {56}
    assert again.image_sizes["imagefolder"].reason == "as in the trials that this sweep has"
    assert {trial.data.image_size for trial in check_sweep(own(tiny, photos), Options()).corners} == {64}


def test_a_sweep_of_an_earlier_version_keeps_the_size_of_its_files(tiny, photos, tmp_path):
    """It recorded none, as all images had the same."""
    for path in photos.rglob("*.png"):
        Image.new("RGB", (160, 160)).save(path)
    options = Options(results=tmp_path / "results")
    sweep = check_sweep(own(tiny, photos), options)
    assert sweep.corners[0].data.image_size == 64
    folder = SweepFolder(tmp_path / "results" / "tiny")
    JobBuilder(sweep, folder, Resources(1, 1, 1, 0.0), {}).build(
        0, {"model": "mlp", "optimizer.lr": 0.01}, lambda: None
    )
    settings = folder.trial(0).settings()
    settings["data"]["image_size"] = None
    (folder.trial(0).path / "config.yaml").write_text(yaml.safe_dump(settings))
    (folder.path / "sweep.yaml").write_text(yaml.safe_dump(own(tiny, photos).resolved()))
    again = check_sweep(own(tiny, photos), options)
    assert again.corners[0].data.image_size is None
    prepare(again, tmp_path / "prepared")
    assert json.loads((tmp_path / "prepared" / "data.json").read_text())["image_size"] == 160


def test_the_dry_run_says_which_size_and_why(sweep_file, photos):
    data = {"name": "imagefolder", "path": str(photos), "per_class": None}
    words = ["sweep", str(sweep_file(parameters={"data": data})), "--dry-run", "--no-probe"]
    line = "photos: image_size 56: the images' median is 90 x 60, of which 56 is about the short side"
    done = CliRunner().invoke(app, words)
    assert f"\n  {line}\n" in done.stdout, done.output
    found = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert found["image_size"]["photos"]["side"] == 56


@pytest.mark.parametrize("order", [("photos", "icons"), ("icons", "photos")])
def test_several_folders_share_the_largest_of_their_sizes(sweep_file, photos, tmp_path, order):
    write_photos(tmp_path / "icons", ((16, 16), (24, 16)))
    data = {"choice": {name: {"path": str(tmp_path / name)} for name in order}}
    file = sweep_file(compare=None, parameters={"data": data})
    done = CliRunner().invoke(app, ["sweep", str(file), "--dry-run", "--no-probe"])
    chosen = "image_size 56: that of photos, larger than 16 of icons, for all; the images' median is 90 x 60"
    for name in order:
        assert f"\n  {name}: {chosen}" in done.stdout, done.output


def test_a_single_training_chooses_and_keeps_a_size(tiny, photos, tmp_path, caplog):
    config = own(tiny, photos).corners[0].model_copy(update={"epochs": 1})
    assert config.data.image_size is None
    assert local.train(config, tmp_path / "trial", lambda line: None).extra["effective"]["image_size"] == 56
    assert "photos: image_size 56: " in caplog.text
    assert yaml.safe_load((tmp_path / "trial" / "config.yaml").read_text())["data"]["image_size"] == 56
    write_photos(photos, ((300, 200),) * 9, first=100)
    local.train(config, tmp_path / "trial", lambda line: None)  # which is complete


def test_data_show_takes_the_size_of_the_sweep(sweep_file, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    deep = {"name": "residual_cnn", "blocks": 8, "width": 2}  # 65 pixels at least
    data = {"name": "imagefolder", "path": str(photos), "per_class": None}
    file = sweep_file(compare=None, parameters={"data": data, "model": deep})
    done = CliRunner().invoke(app, ["data", "show", str(file), "--json"])
    assert json.loads(done.stdout)["image_size"] == 96, done.output


def test_a_size_in_the_file_is_not_for_the_other_alternative(tiny, photos, tmp_path):
    """A resumed sweep whose first trial has the size that the file gives keeps the choice for those without one."""
    data = {"name": "imagefolder", "path": str(photos), "per_class": None}
    file = tiny(parameters={"data": {"choice": {"small": {**data, "image_size": 32}, "auto": data}}})
    options = Options(results=tmp_path / "results")
    sweep, folder = check_sweep(file, options), SweepFolder(tmp_path / "results" / "tiny")
    sizes = {(trial.data.label, trial.data.image_size) for trial in sweep.corners}
    assert sizes == {("small", 32), ("auto", 56)}
    builder = JobBuilder(sweep, folder, Resources(1, 1, 1, 0.0), {})
    builder.build(0, {"data": "small", "model": "mlp", "optimizer.lr": 0.01}, lambda: None)
    (folder.path / "sweep.yaml").write_text(yaml.safe_dump(file.resolved()))
    again = check_sweep(file, options)
    assert {(trial.data.label, trial.data.image_size) for trial in again.corners} == sizes
