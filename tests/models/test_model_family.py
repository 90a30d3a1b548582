"""The properties of a family that the rest of hwcls uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwcls.config.model import MODELS, ModelFamily, PretrainConfig
from hwcls.config.trial import TrialConfig
from hwcls.models.alexnet import AlexNetConfig
from hwcls.models.mlp import MlpConfig
from hwcls.models.timm import TimmConfig
from hwcls.models.user_model import UserModelConfig


def test_the_defaults_are_those_of_a_family_that_is_trained_from_scratch() -> None:
    model = MlpConfig()
    assert (model.source_file, model.weights_file, model.pretrained_from, model.encoder_pretraining) == (None,) * 4
    assert (model.initialisation(), model.autoencoder_settings(), model.slow_to_build) == ({}, [], False)
    assert model.without_pretrained() == model.unfrozen() == model.with_least_pretraining() == model


def test_a_family_must_build() -> None:
    with pytest.raises(NotImplementedError, match=r"ModelFamily\.build"):
        ModelFamily(name="none").build(classes=2, channels=1, image_size=8)


def test_pretrained_backbones() -> None:
    hub = TimmConfig(backbone="resnet18", pretrained=True, frozen=True)
    file = TimmConfig(backbone="resnet18", pretrained="a.pth")
    assert (hub.weights_file, hub.pretrained_from) == (None, ("resnet18", True))
    assert (file.weights_file, file.pretrained_from) == ("a.pth", ("resnet18", "a.pth"))
    assert hub.without_pretrained() == TimmConfig(backbone="resnet18", frozen=True)
    assert hub.without_pretrained().pretrained_from is None
    assert hub.unfrozen() == TimmConfig(backbone="resnet18", pretrained=True)
    assert hub.initialisation() != file.initialisation() != hub.without_pretrained().initialisation()


def test_a_pretrained_encoder() -> None:
    pretrain = PretrainConfig(share=0.5, frozen=True)
    model = AlexNetConfig(width=8, pretrain=pretrain)
    assert model.encoder_pretraining == pretrain
    assert AlexNetConfig().encoder_pretraining is None
    assert model.unfrozen().pretrain == PretrainConfig(share=0.5)
    assert model.with_least_pretraining().pretrain == PretrainConfig(share=0.01, frozen=True, epochs=1)
    assert AlexNetConfig().unfrozen() == AlexNetConfig().with_least_pretraining() == AlexNetConfig()
    assert model.initialisation() != AlexNetConfig(width=8).initialisation()


def test_a_users_model() -> None:
    model = UserModelConfig.model_validate({"name": "nets/mine.py:build", "width": 3})
    assert (model.source_file, model.slow_to_build) == (Path("nets/mine.py"), True)


@pytest.mark.parametrize("name", MODELS.names())
def test_a_family_is_found_by_its_name(name: str) -> None:
    needed = {"user": {"name": "mine.py:build"}, "timm": {"backbone": "resnet18"}}
    given = {"name": name} | needed.get(name, {})
    values = {"data": {"name": "digits"}, "model": given, "optimizer": {"name": "adam"}}
    trial = TrialConfig.from_dict(values)
    assert type(trial.model) is MODELS[name]
    assert TrialConfig.from_dict(trial.to_dict()) == trial
