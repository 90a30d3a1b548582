"""Images of one's own: what no metric judges is said, and what their data decides is recorded."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from hwcls.sweep.preflight.dry_run import plan_sweep
from hwcls.sweep.preflight.prepare import prepare
from hwcls.sweep.preflight.validate import Options, check_sweep

COUNTS = {"common": 40, "rare": 2, "single": 1}
NOTE = "imagefolder: no val image of single (1 in train): no val metric judges it"


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
        notes = [note for note in plan_sweep(own())["warnings"] if note.startswith("imagefolder: ")]
        assert [note.startswith(NOTE) for note in notes] == [True, False]
        assert notes[1].startswith("imagefolder: no test image of single (1 in train)")
        caplog.clear()
        prepare(own(), tmp_path / "out")
        assert [note for note in notes if note in caplog.messages] == notes
    data = json.loads((tmp_path / "out" / "data.json").read_text())
    assert data["images_per_class"] == {"train": [36, 1, 1], "val": [4, 1, 0], "test": [5, 1, 0]}
    assert data["without"] == {"val": ["single"], "test": ["single"]}
    assert (data["val_from"], data["image_size"], data["channels"]) == ("train", 8, 3)


def test_a_sweep_that_version_0_1_began_keeps_its_split(own, tmp_path):
    """It wrote no `val_min`, and gave the rare class no val image."""
    sweep, options = own(), Options(results=tmp_path / "results")
    trial = tmp_path / "results" / "tiny" / "trials" / "0"
    old = check_sweep(sweep, options).corners[0].to_dict()
    assert old["data"].pop("val_min") == 1
    trial.mkdir(parents=True)
    (trial.parents[1] / "sweep.yaml").write_text(yaml.safe_dump(sweep.resolved()))
    (trial / "config.yaml").write_text(yaml.safe_dump(old))
    again = check_sweep(sweep, options)
    assert {config.data.val_min for config in again.corners} == {0}
    prepare(again, trial.parents[1])
    data = json.loads((trial.parents[1] / "data.json").read_text())
    assert data["images_per_class"]["val"] == [4, 0, 0]
