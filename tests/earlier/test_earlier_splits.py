"""Splits of known data sets, and of trials that earlier versions recorded, are as these versions made them."""

import hashlib
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from hwcls.config.data import DataConfig
from hwcls.config.trial import EARLIER_SPLIT, TrialConfig, with_recorded_split
from hwcls.data.imageset import open_data
from hwcls.data.importer import import_data_set
from hwcls.errors import UserError
from hwcls.training import local

SPLITS = ("train", "val", "test")
IMAGES = {"train": {"a": 30, "b": 12, "c": 5}, "test": {"a": 6, "b": 4, "c": 2}}
OTHER = {"val": 0.3, "split_seed": 4, "per_class": 10, "classes": ["a", "c"]}
RECORDED = [  # val and test of each config, found with the code of before
    ({}, [3, 11, 20, 25, 32, 46], list(range(12))),
    (OTHER, [3, 7, 23, 45], [0, 1, 2, 3, 4, 5, 10, 11]),
]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with train and test, some of whose images are copies."""
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    for split, counts in IMAGES.items():
        for name, count in counts.items():
            folder = tmp_path / "mine" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                flat = np.full((8, 8, 3), 40 * (i // 10), np.uint8)
                pixels = random.integers(0, 256, (8, 8, 3), np.uint8) if i % 5 else flat
                Image.fromarray(pixels).save(folder / f"{i:02d}.png")
    return tmp_path / "mine"


@pytest.mark.parametrize(("settings", "val", "test"), RECORDED)
def test_a_recorded_trial_keeps_its_split(own, settings, val, test):
    """Its config.yaml has no `duplicates`: only images of the same pixels were copies, and val went by position."""
    recorded = {"name": "imagefolder", "path": str(own), "label": None, "val_min": 1, **settings}
    config = DataConfig.model_validate(with_recorded_split({"data": recorded})["data"])
    assert config.duplicates == "exact"
    opened = open_data(config)
    assert (opened.val.rows.tolist(), opened.test.rows.tolist()) == (val, test)
    assert not set(opened.val.rows) & set(opened.train.rows)
    assert opened.origin.facts()["val_from"] == "train"


def test_what_is_recorded_now_says_so():
    values = TrialConfig.from_dict({"data": {"name": "digits"}, "model": {"name": "mlp"}, "optimizer": {"name": "sgd"}})
    assert with_recorded_split(values.to_dict()) == values.to_dict()
    assert values.data.duplicates == "near"


def test_known_data_sets_keep_their_splits(tmp_path, monkeypatch):
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    found = ["dfb5800cbec940ef", "8cdb21c949fab4ce", "9b3ee582ad6a077e"]
    for config in (DataConfig(name="digits"), DataConfig(name="digits", duplicates="exact", test=0.5)):
        opened = open_data(config)
        rows = [getattr(opened, split).rows.astype("<i8").tobytes() for split in SPLITS]
        assert [hashlib.blake2b(part, digest_size=8).hexdigest() for part in rows] == found


def test_a_trial_that_was_begun_before_resumes(tmp_path, monkeypatch):
    """Its config.yaml lacks the keys of today: a file that leaves them open means what was done then."""
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    file = {
        "data": {"name": "digits", "per_class": 4},
        "model": {"name": "mlp", "width": 4},
        "optimizer": {"name": "sgd"},
        "epochs": 1,
    }
    folder = tmp_path / "trial"
    result = local.train(TrialConfig.from_dict(file), folder, lambda line: None)
    written = yaml.safe_load((folder / "config.yaml").read_text())
    for key in EARLIER_SPLIT:
        del written["data"][key]
    (folder / "config.yaml").write_text(yaml.safe_dump(written))
    assert local.train(TrialConfig.from_dict(file), folder, lambda line: None) == result
    file["data"]["duplicates"] = "near"
    with pytest.raises(UserError, match="holds another trial"):
        local.train(TrialConfig.from_dict(file), folder, lambda line: None)


def nested(place):
    """Images two folders deep, of which earlier versions took the first folder as the class."""
    random = np.random.default_rng(1)
    for split in ("train", "test"):
        for name in ("cat/a", "cat/b", "dog/c", "dog/d"):
            folder = place / split / name
            folder.mkdir(parents=True)
            for i in range(4):
                Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{i}.png")


def test_a_recorded_trial_keeps_its_classes(tmp_path, monkeypatch):
    """Its config.yaml has no `layout`: the first folder was the class, however deep the images lay."""
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    nested(tmp_path / "mine")
    recorded = {"name": "imagefolder", "path": str(tmp_path / "mine"), "label": None}
    config = DataConfig.model_validate(with_recorded_split({"data": recorded})["data"])
    assert open_data(config).classes == ("cat", "dog")
    assert open_data(DataConfig(path=str(tmp_path / "mine"))).classes == ("cat/a", "cat/b", "dog/c", "dog/d")
    known = with_recorded_split({"data": {"name": "mnist", "label": None}})["data"]
    assert DataConfig.model_validate(known).layout is None


def test_what_was_imported_before_keeps_its_classes(tmp_path, monkeypatch):
    """It is a zip without a table of labels, as that of class folders one deep is today."""
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    nested(tmp_path / "mine")
    packed = tmp_path / "cache" / "raw" / "pets" / "pets.zip"
    packed.parent.mkdir(parents=True)
    shutil.make_archive(str(packed.with_suffix("")), "zip", tmp_path / "mine")
    assert open_data(DataConfig(name="pets")).classes == ("cat", "dog")
    import_data_set("animals", tmp_path / "mine")
    assert open_data(DataConfig(name="animals")).classes == ("cat/a", "cat/b", "dog/c", "dog/d")


def test_a_trial_of_nested_folders_resumes(tmp_path, monkeypatch):
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    nested(tmp_path / "mine")
    file = {"data": {"path": str(tmp_path / "mine"), "image_size": 8}, "model": {"name": "mlp", "width": 4}}
    file |= {"optimizer": {"name": "sgd"}, "epochs": 1}
    before = {**file, "data": {**file["data"], "layout": {"class_depth": 1}, "duplicates": "exact", "val_min": 0}}
    folder = tmp_path / "trial"
    result = local.train(TrialConfig.from_dict(before), folder, lambda line: None)
    written = yaml.safe_load((folder / "config.yaml").read_text())
    for key in (*EARLIER_SPLIT, "layout"):
        del written["data"][key]
    (folder / "config.yaml").write_text(yaml.safe_dump(written))
    assert local.train(TrialConfig.from_dict(file), folder, lambda line: None) == result
