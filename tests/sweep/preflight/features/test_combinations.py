"""Which trials together need all that a sweep's trials will need."""

import pytest
import yaml

from hwcls.config.sweep_file import load_sweep
from hwcls.sweep.preflight.features import combinations
from hwcls.sweep.preflight.features.combinations import needing_trials

FROZEN = {"name": "timm", "pretrained": True, "frozen": True}


def key(trial):
    """As features have it: the backbone, the side and whether it is frozen."""
    model = trial.model
    if not getattr(model, "frozen", False):
        return None
    return model.backbone, trial.data.image_size, trial.data.resize


@pytest.fixture
def keys(tmp_path):
    """The keys of the trials that are found for a sweep with this data and this model."""

    def find(data=None, **model):
        optimizer = {"choice": {"adam": {"name": "adam"}, "sgd": {"name": "sgd"}}}
        parameters = {"data": {"name": "digits", **(data or {})}, "model": model, "optimizer": optimizer}
        values = {"name": "tiny", "run_cap": 4, "track": [], "parameters": parameters}
        (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
        return sorted(map(key, needing_trials(load_sweep(tmp_path / "tiny.yaml"), key)))

    return find


def test_lists_are_combined_though_corners_vary_one_at_a_time(keys):
    found = keys({"image_size": {"values": [32, 64]}}, **FROZEN, backbone={"values": ["a", "b", "c"]})
    assert found == [(name, side, "crop") for name in "abc" for side in (32, 64)]


def test_what_decides_only_together_with_another_parameter_is_found(keys):
    """The first value of frozen has no features at all, whatever the backbone."""
    model = {**FROZEN, "frozen": {"values": [False, True]}, "backbone": {"values": ["a", "b"]}}
    assert keys(**model) == [("a", None, "crop"), ("b", None, "crop")]


def test_a_short_range_is_tried_and_a_long_one_left_to_the_trials(keys):
    backbone = {"values": ["a", "b"]}
    short = keys({"image_size": {"min": 32, "max": 64, "step": 16}}, **FROZEN, backbone=backbone)
    assert [side for _, side, _ in short] == [32, 48, 64, 32, 48, 64]
    assert keys({"image_size": {"min": 32, "max": 64}}, **FROZEN, backbone=backbone) == []


def test_of_several_branches_those_with_features(keys):
    choice = {
        "probe": {**FROZEN, "backbone": {"values": ["a", "b"]}},
        "tuned": {"name": "timm", "pretrained": True, "backbone": "c"},
        "mlp": {"name": "mlp", "width": {"min": 4, "max": 8000}},
        "other": {**FROZEN, "backbone": "d"},
    }
    assert keys({"resize": {"values": ["crop", "pad"]}}, choice=choice) == [
        (name, None, resize) for name in "abd" for resize in ("crop", "pad")
    ]


def test_too_many_combinations_are_left_to_the_trials(keys, monkeypatch):
    monkeypatch.setattr(combinations, "MOST_POINTS", 3)
    found = keys({"image_size": {"values": [32, 64]}}, **FROZEN, backbone={"values": ["a", "b"]})
    assert len(found) == 1


def test_without_features_nothing_is_combined(keys, monkeypatch):
    monkeypatch.delattr(combinations, "_Combinations")
    assert keys(name="mlp", width={"values": [4, 8]}) == []
