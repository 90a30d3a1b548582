"""A trial gets what its weights expect, records it in full, and its own weights then expect the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file

from hwcls.config.data import PLAIN_INPUTS, ExpectedInputs
from hwcls.config.trial import TrialConfig
from hwcls.errors import UserError
from hwcls.inspection.evaluate import evaluate_trial
from hwcls.inspection.export import describe
from hwcls.inspection.load_trained import load_trained
from hwcls.tracking.folders import TrialFolder
from hwcls.training import local

HALF = [0.5, 0.5, 0.5]
WRITTEN = {"interpolation": "bilinear", "crop_pct": 0.95, "mean": HALF, "std": HALF}  # timm's settings of test_resnet


def config(weights: Path, **data: Any) -> TrialConfig:
    """As a user writes it."""
    return TrialConfig.from_dict(
        {
            "data": {"name": "digits", "per_class": 4, **data},
            "model": {"name": "timm", "backbone": "test_resnet", "pretrained": str(weights)},
            "optimizer": {"name": "sgd", "lr": 0.01},
            "epochs": 1,
        }
    )


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.set_num_threads(1)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def train(trial: TrialConfig, path: Path) -> dict[str, Any]:
    """The recorded data section."""
    assert local.train(trial, path, lambda line: None).status == "complete"
    found: dict[str, Any] = TrialFolder(path).settings()["data"]
    return found


def test_a_trial_and_the_one_that_starts_from_it(weights: Path, tmp_path: Path) -> None:
    trial = config(weights)
    recorded = train(trial, tmp_path / "first")
    assert {key: recorded[key] for key in WRITTEN} == WRITTEN
    assert recorded["image_size"] == 32  # 8 x 8 pixels are not enlarged to the 160 of the weights
    trained = load_trained(tmp_path / "first")
    inputs = trained.inputs
    assert (inputs.mean, inputs.std, inputs.crop_pct, inputs.image_size) == ((0.5,), (0.5,), 0.95, 32)
    assert trained.data.to_dict() == inputs.to_dict()
    assert np.isfinite(evaluate_trial(trained, "test").values["test/loss"])
    steps = {step["step"]: step for step in describe(trained)["preprocessing"]["steps"]}
    assert (steps["normalise"]["mean"], steps["resize"]["short_side"], steps["crop_centre"]["size"]) == ([0.5], 33, 32)
    assert local.train(trial, tmp_path / "first", lambda line: None).status == "complete"  # the same trial

    second = config(tmp_path / "first" / "best.safetensors")
    assert second.model.expects == ExpectedInputs((0.5,), (0.5,), "bilinear", 0.95, side=32)
    assert {key: train(second, tmp_path / "second")[key] for key in WRITTEN} == WRITTEN


def test_a_trial_that_an_earlier_version_began_goes_on_as_it_did(weights: Path, tmp_path: Path) -> None:
    plain = config(weights, **PLAIN_INPUTS, image_size=8)
    recorded = train(plain, tmp_path / "trial")
    assert {key: recorded[key] for key in PLAIN_INPUTS} == PLAIN_INPUTS
    path = tmp_path / "trial" / "config.yaml"
    values = yaml.safe_load(path.read_text())
    for key in PLAIN_INPUTS:
        del values["data"][key]
    path.write_text(yaml.safe_dump(values))
    for written in (config(weights, image_size=8), TrialConfig.from_recorded(values)):
        assert local.train(written, tmp_path / "trial", lambda line: None).status == "complete"
    with pytest.raises(UserError, match="holds another trial"):
        local.train(config(weights, image_size=8, crop_pct=0.9), tmp_path / "trial", lambda line: None)
