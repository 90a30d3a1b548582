"""Images of one's own: what no metric judges is said, and what their data decides is recorded."""

import hashlib
import json

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from hwcls.cli.main import app
from hwcls.config.data import AugmentConfig
from hwcls.config.trial import ADDED
from hwcls.report.html.run_facts import collect_facts
from hwcls.results.confirm.plan import PlannedRun
from hwcls.results.load import load_results
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.preflight.dry_run import plan_sweep, print_plan
from hwcls.sweep.preflight.prepare import prepare
from hwcls.sweep.preflight.validate import Options, check_sweep
from hwcls.sweep.run.confirm_run import open_job
from hwcls.sweep.search.job_builder import JobBuilder
from hwcls.sweep.storage.environment import write_effective
from hwcls.tracking.folders import SweepFolder
from hwcls.training import local

COUNTS = {"common": 40, "rare": 2, "single": 1}
NOTE = "mine: no val image of single (1 in train): no val metric judges it"


@pytest.fixture
def own(tiny, tmp_path, monkeypatch):
    """The sweep of a folder with a rare class and a class of a single image, which test lacks."""
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    for split, counts in (("train", COUNTS), ("test", {"common": 5, "rare": 1})):
        for name, count in counts.items():
            folder = tmp_path / "mine" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{i}.png")

    def sweep(**changes):
        return tiny(parameters={"data": {"name": "imagefolder", "path": str(tmp_path / "mine"), **changes}})

    return sweep


def test_classes_that_nothing_judges_are_named(own, tmp_path, caplog):
    for _ in range(2):  # before the images are decoded, and then
        notes = [note for note in plan_sweep(own())["warnings"] if note.startswith("mine: ")]
        assert [note.startswith(NOTE) for note in notes] == [True, False, False]
        assert notes[1].startswith("mine: no test image of single (1 in train)")
        assert notes[2].startswith("mine: test has 6 images: too few to tell")
        caplog.clear()
        prepare(own(), tmp_path / "out")
        assert [note for note in notes if note in caplog.messages] == notes
    data = json.loads((tmp_path / "out" / "data.json").read_text())
    assert data["images_per_class"] == {"train": [36, 1, 1], "val": [4, 1, 0], "test": [5, 1, 0]}
    assert data["without"] == {"val": ["single"], "test": ["single"]}
    assert (data["val_from"], data["image_size"], data["channels"]) == ("train", 8, 3)


def begun_by_version_0_1(sweep, options):
    """Its results folder with one trial, as that version wrote it: without the keys of today, with `augment: null`."""
    folder = SweepFolder(options.results / "tiny")
    config = check_sweep(sweep, options).corners[0].to_dict()
    plain = ["bilinear", 1.0, "images", "images"]
    assert [config["data"].pop(key) for key in ADDED] == [1, "near", 0.2, None, "crop", *plain]
    assert config["data"]["augment"] is None
    folder.trial(0).path.mkdir(parents=True)
    (folder.path / "sweep.yaml").write_text(yaml.safe_dump(sweep.resolved()))
    (folder.trial(0).path / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def jobs(sweep, folder, *numbers):
    """The jobs of some trials, as the search builds them."""
    builder = JobBuilder(sweep, folder, Resources(1, 1, 1, 0.0), {})
    return [builder.build(n, {"model": "mlp", "optimizer.lr": 0.01}, lambda: None) for n in numbers]


def test_a_sweep_that_version_0_1_began_keeps_its_split(own, tmp_path):
    """It gave the rare class no val image."""
    sweep, options = own(), Options(results=tmp_path / "results")
    folder = begun_by_version_0_1(sweep, options)
    again = check_sweep(sweep, options)
    assert {(config.data.val_min, config.data.duplicates) for config in again.corners} == {(0, "exact")}
    prepare(again, folder.path)
    data = json.loads((folder.path / "data.json").read_text())
    assert data["images_per_class"]["val"] == [4, 0, 0]
    assert data["augment"]["hflip"]


def test_a_sweep_that_began_before_near_copies_counted_keeps_its_split(own, tmp_path):
    sweep, options = own(), Options(results=tmp_path / "results")
    folder = begun_by_version_0_1(sweep, options)
    config = yaml.safe_load((folder.trial(0).path / "config.yaml").read_text())
    config["data"]["val_min"] = 1
    (folder.trial(0).path / "config.yaml").write_text(yaml.safe_dump(config))
    again = check_sweep(sweep, options)
    assert not again.earlier
    assert {(config.data.val_min, config.data.duplicates) for config in again.corners} == {(1, "exact")}
    assert check_sweep(sweep, Options(results=tmp_path / "new")).corners[0].data.duplicates == "near"


def test_a_sweep_that_version_0_1_began_keeps_mirroring(own, tmp_path):
    sweep, options = own(), Options(results=tmp_path / "results")
    folder = begun_by_version_0_1(sweep, options)
    resumed, new = jobs(check_sweep(sweep, options), folder, 0, 1)
    confirmed = open_job(sweep, folder, PlannedRun("mlp", 0, 7), resumed.resources)
    for job in (resumed, new, confirmed):
        assert job.config.data.augment == AugmentConfig(hflip=True)
    assert folder.trial(1).settings()["data"]["augment"]["hflip"] is True
    assert folder.confirm_run("mlp", 7).settings()["data"]["augment"]["hflip"] is True
    assert ("Augmentation", "hflip") in collect_facts(load_results(folder.path))


def test_own_images_are_not_augmented_unless_asked_and_every_value_is_recorded(own, tmp_path):
    for changes, expected in (({}, {}), ({"augment": {"crop": 1, "hflip": True}}, {"crop": 1, "hflip": True})):
        sweep, folder = own(**changes), SweepFolder(tmp_path / f"results{len(changes)}")
        (job,) = jobs(sweep, folder, 0)
        full = AugmentConfig(**expected).model_dump(mode="json")
        assert folder.trial(0).settings()["data"]["augment"] == full
        assert job.config.data.augment == AugmentConfig(**expected)
        shown = []
        print_plan(plan_sweep(sweep), shown.append)
        words = "mine: crop 1, hflip" if changes else "mine: none (the data set's default)"
        assert f"  {words}" in shown
        (entry,) = plan_sweep(sweep)["augment"]
        assert entry["settings"] == {name: value for name, value in full.items() if name != "label"}
        (folder.path / "sweep.yaml").write_text(yaml.safe_dump(sweep.resolved()))
        decided = {"resources": {"workers": 1, "cpus_per_worker": 2}, "share": "trials", "rungs": [1, 3]}
        (folder.path / "environment.json").write_text("{}")
        write_effective(folder.path, decided)
        prepare(sweep, folder.path)
        facts = dict(collect_facts(load_results(folder.path)))
        assert facts["Augmentation"] == ("crop 1, hflip" if changes else "none")
        assert facts["Images"] == "8 x 8, RGB"
        assert facts["Test and val"].startswith(
            "test: as the data has it; val: 10 % of the training images, cut by hwcls"
        )
        assert facts["Resources of a trial"] == "workers 1, cpus per worker 2"
        assert facts["Early stopping at epochs"] == "1, 3"


def test_searched_augmentations_are_described(tiny):
    choice = {"light": {"crop": 1}, "strong": {"crop": 1, "cutmix": {"min": 0.2, "max": 1.0}}}
    shown = []
    print_plan(plan_sweep(tiny(parameters={"data": {"name": "digits", "augment": {"choice": choice}}})), shown.append)
    assert {"  digits, light: crop 1", "  digits, strong: crop 1, cutmix 0.2 or 1.0"} <= set(shown)


def test_what_data_and_machine_decide_is_in_the_result(own, tmp_path):
    config = own().corners[0].model_copy(update={"class_weights": "balanced", "epochs": 1})
    found = local.train(config, tmp_path / "trial", lambda line: None).extra["effective"]
    assert len(found.pop("mean")) == len(found.pop("std")) == 3
    assert found == {
        "image_size": 8,
        "resize": "crop",
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "channels": 3,
        "device": "cpu",
        "precision": "float32",
        "cuda_graph": False,
        "cuda_graph_reason": "it runs on a CPU",
        "micro_batch": 128,
        "norm_batch": 128,
        "class_weights": [0.351852, 12.666667, 12.666667],
        "train_sample": 38,
    }
    recorded = yaml.safe_load((tmp_path / "trial" / "config.yaml").read_text())
    assert recorded["data"]["augment"] == AugmentConfig().model_dump(mode="json")


def test_train_repeats_a_trial_of_version_0_1_as_it_was_and_mirrors_no_other(own, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    config = own().corners[0].model_copy(update={"epochs": 1}).to_dict()
    for key in ADDED:
        del config["data"][key]
    digest = hashlib.blake2b(json.dumps(config).encode(), digest_size=4).hexdigest()  # as that version named the folder
    written = {name: value for name, value in config["data"].items() if value is not None}  # by hand
    for values, folder, expected in ((config, digest, (0, True)), ({**config, "data": written}, "hand", (1, False))):
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
        out = () if folder == digest else ("--out", f"results/train/{folder}")
        done = CliRunner().invoke(app, ["train", "config.yaml", *out])
        assert done.exit_code == 0, done.output
        assert any("no val image of" in message for message in caplog.messages)
        data = yaml.safe_load((tmp_path / "results" / "train" / folder / "config.yaml").read_text())["data"]
        assert (data["val_min"], data["augment"]["hflip"]) == expected
