import io
import json

import numpy as np
import pytest
import yaml
from rich.console import Console

from hwcls.config.data import AugmentConfig
from hwcls.errors import UserError
from hwcls.report.terminal.trial_comparison import print_trial_comparison
from hwcls.results.explain import compare_trials
from hwcls.training.artifacts import save_arrays
from tests.results.conftest import write_sweep, write_trial

LABELS = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
A = [0, 0, 1, 1, 1, 1, 2, 2, 0, 0]
B = [0, 0, 0, 1, 1, 2, 2, 2, 2, 0]


@pytest.fixture
def pair(tmp_path):
    """Two trials that differ in lr and on three of ten images."""
    folder = write_sweep(tmp_path / "tiny")
    for number, picked in enumerate((A, B)):
        write_trial(folder.trial(number), [0.5], lr=0.1 * (number + 1))
        save_arrays(folder.trial(number).path / "predictions.npz", labels=LABELS, scores=np.eye(3)[picked])
    return folder.trial(0).path, folder.trial(1).path


def test_settings_classes_and_images(pair):
    found = compare_trials(*pair)
    assert found.settings == {"lr": (0.1, 0.2)}
    assert found.accuracy == (0.7, 0.8)
    assert [(row["class"], row["images"]) for row in found.classes] == [("0", 3), ("2", 4), ("1", 3)]
    assert [row["gain"] for row in found.classes] == pytest.approx([1 / 3, 1 / 4, -1 / 3])
    assert found.only_a == [{"image": 5, "class": "1", "a": "1", "b": "2"}]
    assert [image["image"] for image in found.only_b] == [2, 8]
    assert json.loads(json.dumps(found.to_dict()))["settings"] == {"lr": [0.1, 0.2]}


def test_a_trial_of_version_0_1_beside_one_of_today(pair):
    """What that version did not write is no difference: the split, and the augmentation of a known data set."""
    path = pair[0] / "config.yaml"
    config = yaml.safe_load(path.read_text())
    assert config["data"].pop("val_min", 1) in (0, 1)
    config["data"]["augment"] = None
    path.write_text(yaml.safe_dump(config))
    other = yaml.safe_load((pair[1] / "config.yaml").read_text())
    other["data"] |= {"val_min": 0, "augment": AugmentConfig().model_dump(mode="json")}
    (pair[1] / "config.yaml").write_text(yaml.safe_dump(other))
    assert compare_trials(*pair).settings == {"lr": (0.1, 0.2)}


@pytest.mark.parametrize("key", ["image_size", "mean", "crop_pct"])
def test_the_same_images_may_be_decoded_otherwise(pair, key):
    """As by two backbones with preprocessing of their own."""
    path = pair[1] / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["data"][key] = {"image_size": 64, "mean": [0.5], "crop_pct": 0.5}[key]
    path.write_text(yaml.safe_dump(config))
    assert set(compare_trials(*pair).settings) > {"lr"}


def test_the_text(pair):
    console = Console(file=io.StringIO(), record=True, width=100)
    print_trial_comparison(compare_trials(*pair), ("trials/0", "trials/1"), console, rows=1)
    text = console.export_text()
    assert "1 image right only in trials/0, 2 only in trials/1" in text
    assert "image 2, class 0: trials/0 predicts 1, trials/1 predicts 0" in text
    assert "and 1 more" in text


def test_a_trial_with_itself(pair):
    found = compare_trials(pair[0], pair[0])
    console = Console(file=io.StringIO(), record=True, width=100)
    print_trial_comparison(found, ("trials/0", "trials/0"), console)
    assert (found.settings, found.only_a, found.only_b) == ({}, [], [])
    assert "The settings are the same." in console.export_text()


def test_what_cannot_be_compared(pair, tmp_path):
    with pytest.raises(UserError, match="is not a trial's folder"):
        compare_trials(pair[0], tmp_path)
    save_arrays(pair[1] / "predictions.npz", labels=LABELS[::-1], scores=np.eye(3)[B])
    with pytest.raises(UserError, match="different validation images"):
        compare_trials(*pair)
    save_arrays(pair[1] / "predictions.npz", labels=LABELS, scores=np.eye(3)[B])
    config = yaml.safe_load((pair[1] / "config.yaml").read_text())
    config["data"]["split_seed"] = 1  # another val, whose labels may well be the same
    (pair[1] / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match="different validation images"):
        compare_trials(*pair)
    (pair[1] / "predictions.npz").unlink()
    with pytest.raises(UserError, match="has no predictions"):
        compare_trials(*pair)


@pytest.mark.parametrize("part", ["data", "model", "optimizer"])
def test_a_config_that_was_cut_off(pair, part):
    """Else each of its settings would be shown as one that differs."""
    path = pair[1] / "config.yaml"
    config = yaml.safe_load(path.read_text())
    del config[part]
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=f"config.yaml: is damaged \\(without '{part}'\\)"):
        compare_trials(*pair)
