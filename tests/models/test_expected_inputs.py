"""What the weights of a timm backbone expect: by timm's settings, or by a trial's own file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hwcls.config.data import ExpectedInputs
from hwcls.models.mlp import MlpConfig
from hwcls.models.timm import TimmConfig

HALF = (0.5, 0.5, 0.5)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def expects(backbone: str, pretrained: bool | str = True) -> ExpectedInputs | None:
    return TimmConfig(backbone=backbone, pretrained=pretrained).expects


def test_timms_settings() -> None:
    assert expects("tf_efficientnet_lite0") == ExpectedInputs(HALF, HALF, "bicubic", 0.875, "crop", 224)
    assert expects("resnet18.tv_in1k") == ExpectedInputs(*IMAGENET, "bilinear", 0.875, "crop", 224)
    assert expects("dm_nfnet_f0") == ExpectedInputs(*IMAGENET, "bicubic", 0.9, "squash", 192)
    assert expects("volo_d4_448") == ExpectedInputs(*IMAGENET, "bicubic", 1.0, "crop", 448)  # timm's 1.15 adds a border
    assert expects("no_such_net") is None  # building it says so


def test_models_from_scratch_expect_nothing() -> None:
    assert expects("resnet18", False) is None
    assert MlpConfig().expects is None


def write(path: Path, inputs: object) -> str:
    save_file({"w": torch.zeros(1)}, path, {"hwcls": json.dumps({"epoch": 1, "config": {}, "inputs": inputs})})
    return str(path)


@pytest.mark.parametrize("recorded", [{}, {"interpolation": "bicubic", "crop_pct": 0.9, "resize": "pad"}])
def test_a_trials_own_file_says_what_it_was_trained_on(recorded: dict[str, object], tmp_path: Path) -> None:
    """One of an earlier version has not all keys."""
    inputs = {"image_size": 48, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], **recorded}
    expected = ExpectedInputs((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), side=48)
    if recorded:
        expected = ExpectedInputs(expected.mean, expected.std, "bicubic", 0.9, "pad", 48)
    assert expects("resnet18", write(tmp_path / "best.safetensors", inputs)) == expected


@pytest.mark.parametrize("inputs", [None, {}, {"image_size": 48, "mean": [1], "std": [1], "resize": "bend"}])
def test_any_other_file_is_taken_as_timms(inputs: object, tmp_path: Path) -> None:
    assert expects("resnet18", write(tmp_path / "best.safetensors", inputs)) == expects("resnet18")
    torch.save({"w": torch.zeros(1)}, tmp_path / "weights.pth")
    assert expects("resnet18", str(tmp_path / "weights.pth")) == expects("resnet18")
