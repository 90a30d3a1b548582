"""What measured times say of a machine."""

import pytest

from hwcls.config.data import DataConfig
from hwcls.init import measure
from hwcls.init.budget import Speed
from hwcls.init.plan import Model
from hwcls.sweep.preflight.timing import Timing, TrialTime

HEAD = {"dropout": {"min": 0.1, "max": 0.5}}
CNN = Model("cnn", {"name": "simple_cnn", "width": {"values": [8, 16]}, "head": HEAD}, "")


def test_both_ends_of_a_model_are_timed_and_an_outlier_is_not_believed(monkeypatch):
    asked = []

    def time_trials(trials, resources, fewest, seconds, features):
        asked.extend(trials)
        assert fewest == len(trials)
        assert features == []
        return Timing(5.0, {"cnn/0": [TrialTime(1, t) for t in (2.0, 90.0, 3.0)], "cnn/-1": [TrialTime(1, 6.0)]})

    monkeypatch.setattr(measure, "time_trials", time_trials)
    found = measure.time_models([CNN], DataConfig(path="photos", image_size=16))
    assert {(label, trial.model.width, trial.model.head.dropout) for label, trial in asked} == {
        ("cnn/0", 8, 0.1),
        ("cnn/-1", 16, 0.5),
    }
    assert [time.epoch for time in found.trials["cnn"]] == [3.0, 6.0]


def test_pace():
    pace = measure.pace_of(Timing(10.0, {"cnn": [TrialTime(1, 2.0), TrialTime(1, 4.0)]}), 2)
    assert pace.speeds == {"cnn": Speed(pytest.approx(3.025), pytest.approx(4.025))}
    assert (pace.concurrent, pace.idle) == (2, pytest.approx(10 * (2.2 + 2 * 1.8 + 0.95 + 0.8)))


def test_of_a_probe_the_features_are_timed_once(monkeypatch):
    """The heads are timed as such; both processes compute the features of all images."""
    settings = {"name": "timm", "backbone": "a", "pretrained": True, "frozen": True, "head": HEAD}

    def time_trials(trials, resources, fewest, seconds, features):
        assert [trial.model.backbone for trial in features] == ["a"]
        return Timing(10.0, {"probe/0": [TrialTime(1, 0.5)], "probe/-1": [TrialTime(1, 0.5)]}, (0.25,))

    monkeypatch.setattr(measure, "time_trials", time_trials)
    found = measure.time_models([CNN, Model("probe", settings, "")], DataConfig(path="photos", image_size=16))
    pace = measure.pace_of(found, 2, images=1_000)
    assert pace.once == 125.0
    assert pace.idle == pytest.approx(10 * (2.2 + 3 * 1.8 + 0.95 + 0.8))  # and start again for it
    assert pace.features(["cnn"]) == 0.0
