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

    def time_trials(trials, resources, fewest, seconds):
        asked.extend(trials)
        assert fewest == len(trials)
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
    assert (pace.concurrent, pace.idle) == (2, pytest.approx(10 * (1.2 + 2 * 1.8 + 0.95 + 0.4)))
