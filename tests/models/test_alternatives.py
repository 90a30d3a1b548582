"""Which alternatives of a sweep are the same model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hwcls.config.sweep_file import Sweep, load_sweep
from hwcls.config.trial import TrialConfig
from hwcls.models.alternatives import describe_same_models, expand_alternatives, group_same_models
from hwcls.sweep.preflight.model_size import ModelSize, largest_models
from hwcls.sweep.preflight.notes import describe_notes

HEAD = {"depth": {"min": 1, "max": 2}}


def sweep_of(tmp_path: Path, model: dict[str, Any], **more: Any) -> Sweep:
    optimizer = {"choice": {"adam": {"lr": 0.01}, "sgd": {"lr": 0.1}}}
    parameters = {"data": {"name": "digits"}, "model": model, "optimizer": optimizer}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({"run_cap": 9, "parameters": parameters, **more}))
    return load_sweep(tmp_path / "sweep.yaml")


def identity(trial: TrialConfig) -> str:
    return trial.model.model_dump_json(exclude={"label"})


def groups(tmp_path: Path, choice: dict[str, Any], **more: Any) -> list[list[str]]:
    return group_same_models(
        expand_alternatives(sweep_of(tmp_path, {"head": HEAD, "choice": choice}, **more)), identity
    )


K3, K5 = {"name": "kernel_cnn", "kernel": 3}, {"name": "kernel_cnn", "kernel": 5}


def test_a_typo_that_makes_two_alternatives_equal(tmp_path: Path) -> None:
    assert groups(tmp_path, {"k3": K3, "k5": K3, "k7": K5}) == [["k3", "k5"]]
    assert groups(tmp_path, {"k3": K3, "k5": K5}) == []
    assert groups(tmp_path, {"a": K3, "b": K5, "c": K3, "d": K5}, compare="model") == [["a", "c"], ["b", "d"]]


def test_every_value_of_an_alternative_counts(tmp_path: Path) -> None:
    narrow, wide = ({**K3, "width": {"min": 8, "max": most}} for most in (16, 32))
    assert groups(tmp_path, {"narrow": narrow, "wide": wide}) == []
    assert groups(tmp_path, {"one": wide, "other": dict(wide)}) == [["one", "other"]]
    own = {**K3, "head": {"depth": {"min": 1, "max": 3}}}
    assert groups(tmp_path, {"shared": K3, "own": own}) == []


def test_expand_alternatives(tmp_path: Path) -> None:
    values = {"name": "kernel_cnn", "kernel": {"values": [3, 5]}}
    assert list(expand_alternatives(sweep_of(tmp_path, values, compare="model.kernel"))) == ["3", "5"]
    assert expand_alternatives(sweep_of(tmp_path, values)) == {}
    assert expand_alternatives(sweep_of(tmp_path, values, compare="optimizer")) == {}
    assert list(expand_alternatives(sweep_of(tmp_path, {"choice": {"a": K3, "b": K5}}, compare="optimizer"))) == [
        "a",
        "b",
    ]


def test_an_alternative_with_a_unique_first_trial_is_not_built_further(tmp_path: Path) -> None:
    asked = []
    found = expand_alternatives(sweep_of(tmp_path, {"head": HEAD, "choice": {"a": K3, "b": K5}}))
    group_same_models(found, lambda trial: asked.append(trial) or identity(trial))
    assert len(asked) == 2 < sum(map(len, found.values()))


@pytest.mark.parametrize(
    ("labels", "text"), [("ab", "a and b are the same model"), ("abc", "a, b and c are the same model")]
)
def test_describe_same_models(labels: str, text: str) -> None:
    assert describe_same_models(list(labels)) == text


@pytest.mark.parametrize("compare", ["model", "data.augment"])
def test_combinations_that_cannot_be_trained_are_left_out(tmp_path: Path, compare: str) -> None:
    probe = {"name": "timm", "backbone": "resnet10t", "pretrained": True, "frozen": True}
    augment = {"choice": {"light": {"crop": 2}, "strong": {"crop": 2, "cutmix": 1.0}}}  # cutmix changes pixels
    data = {"name": "digits", "image_size": 32, "channels": 3, "augment": augment}
    model = {"choice": {"cnn": {"name": "simple_cnn"}, "probe": probe}}
    parameters = {"data": data, "model": model, "optimizer": {"name": "adam", "lr": 0.01}}
    (tmp_path / "cut.yaml").write_text(yaml.safe_dump({"run_cap": 8, "compare": compare, "parameters": parameters}))
    sweep = load_sweep(tmp_path / "cut.yaml")
    found = expand_alternatives(sweep)
    assert {one.data.augment.label for one in found["cnn"] if one.data.augment} == {"light", "strong"}
    assert {one.data.augment.label for one in found["probe"] if one.data.augment} == {"light"}
    sizes = largest_models(sweep, lambda trial: ModelSize(len(trial.model.name), 0, 0, 0))
    assert {label: size.all for label, size in sizes.items()} == (
        {"cnn": 10, "probe": 4} if compare == "model" else {"light": 10, "strong": 10}
    )
    (note,) = [note for note in describe_notes(sweep) if "cannot be trained" in note]
    assert note.startswith("data.augment strong with model probe cannot be trained (data.augment.cutmix pastes pixels")
