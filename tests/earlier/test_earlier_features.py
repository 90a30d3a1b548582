"""Trials that earlier versions recorded, which computed a frozen backbone's features in each epoch, still do."""

from __future__ import annotations

import copy
import hashlib
import json

import pytest
import yaml

from hwcls.cli.commands.train_ensemble import _digest
from hwcls.config.sweep_file import load_sweep, load_trial
from hwcls.config.trial import ADDED, TrialConfig, with_recorded_split
from hwcls.errors import UserError
from hwcls.sweep.preflight.validate import Options, check_sweep
from hwcls.tracking.folders import SweepFolder
from hwcls.training.local import _with_earlier_split

MODEL = {"name": "timm", "backbone": "test_resnet", "pretrained": True, "frozen": True}
FILE = {"data": {"name": "digits"}, "model": MODEL, "optimizer": {"name": "sgd"}}


def recorded_before():
    """What an earlier version wrote: every key that it knew."""
    values = TrialConfig.from_dict(FILE).to_dict()
    for key in ("features", "views"):
        del values["model"][key]
    return values


def test_a_recorded_trial_has_live_features(tmp_path):
    before = recorded_before()
    kept = copy.deepcopy(before)
    model = TrialConfig.from_recorded(before).model
    assert (model.features, model.views) == ("live", None)
    assert before == kept
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(before))
    assert load_trial(tmp_path / "config.yaml").model.features == "live"
    assert TrialConfig.from_dict(FILE).model.features == "cached"
    now = TrialConfig.from_dict(FILE).to_dict()
    assert with_recorded_split(now) == now


def test_what_is_of_another_family_stays():
    other = {**recorded_before(), "model": {"name": "mlp", "label": None}}
    assert with_recorded_split(other)["model"] == other["model"]
    assert with_recorded_split({**other, "model": "broken"})["model"] == "broken"


def test_a_file_that_leaves_it_open_resumes_such_a_trial():
    recorded, file = TrialConfig.from_recorded(recorded_before()), TrialConfig.from_dict(FILE)
    assert _with_earlier_split(file, recorded).model == recorded.model
    asked = TrialConfig.from_dict({**FILE, "model": {**MODEL, "features": "cached"}})
    assert _with_earlier_split(asked, recorded).model.features == "cached"
    assert _with_earlier_split(file, file).model.features == "cached"


def test_its_folder_is_named_as_before():
    before = recorded_before()
    data = {key: one for key, one in before["data"].items() if key not in ADDED}
    named = hashlib.blake2b(json.dumps({**before, "data": data}).encode(), digest_size=4).hexdigest()
    assert _digest(TrialConfig.from_recorded({**before, "data": data})) == named


def test_a_sweep_that_began_before_has_live_features(tmp_path):
    """Its trials to come too, of the families that it has trials of."""
    file = {"parameters": {"data": {"name": "digits"}, "model": {"choice": {"probe": MODEL, "mlp": {"name": "mlp"}}}}}
    file["parameters"]["optimizer"] = {"name": "sgd", "lr": {"min": 0.01, "max": 0.1}}
    path, options = tmp_path / "tiny.yaml", Options(results=tmp_path / "results")
    path.write_text(yaml.safe_dump({**file, "run_cap": 4, "track": []}))
    sweep = load_sweep(path)
    folder = SweepFolder(options.results / "tiny")
    for number, values in enumerate([{**recorded_before(), "model": {"name": "mlp"}}, recorded_before()]):
        folder.trial(number).path.mkdir(parents=True)
        (folder.trial(number).path / "config.yaml").write_text(yaml.safe_dump(values))
    (folder.path / "sweep.yaml").write_text(yaml.safe_dump(sweep.resolved()))
    models = [trial.model for trial in check_sweep(sweep, options).corners if trial.model.name == "timm"]
    assert {model.features for model in models} == {"live"}
    new = check_sweep(sweep, Options(results=tmp_path / "new"))
    assert {trial.model.features for trial in new.corners if trial.model.name == "timm"} == {"cached"}


def test_an_error_names_the_key_of_the_file(tmp_path):
    cut = {**FILE, "data": {"name": "digits", "augment": {"cutmix": 1.0}}}
    open_ones = {**FILE, "model": {"name": "timm", "backbone": "test_resnet", "views": 2}}
    for values, place, remedy in (
        (cut, "config.yaml:3: data.augment.cutmix", "use mixup"),
        (open_ones, "config.yaml:6: model.views", "frozen: true"),
    ):
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
        with pytest.raises(UserError) as caught:
            load_trial(tmp_path / "config.yaml")
        assert caught.value.where.endswith(place)
        assert remedy in caught.value.remedy
