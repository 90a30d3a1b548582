"""The properties of a family that the rest of hwcls uses."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from hwcls.config.data import AugmentConfig
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


PROBE = {"backbone": "test_resnet", "pretrained": True, "frozen": True}


@pytest.mark.parametrize(
    ("settings", "plain", "augmented"),
    [
        (PROBE, 1, 4),
        ({**PROBE, "views": 3}, 3, 3),
        ({**PROBE, "features": "live"}, None, None),
        ({**PROBE, "pretrained": False}, None, None),
        ({**PROBE, "frozen": False}, None, None),
    ],
)
def test_views_of_cached_features(settings, plain, augmented):
    """Mixing does not make views: it takes features as well as pixels."""
    model = TimmConfig(**settings)
    assert model.cached_views(AugmentConfig(mixup=0.2, cutmix=1.0, label="none")) == plain
    assert model.cached_views(AugmentConfig(hflip=True)) == augmented
    assert MlpConfig().cached_views(AugmentConfig(hflip=True)) is None


@pytest.mark.parametrize("change", [{"frozen": False}, {"features": "live"}, {"pretrained": False}])
def test_views_need_cached_features(change):
    with pytest.raises(ValidationError, match="views are of cached features"):
        TimmConfig(**{**PROBE, "views": 2, **change})
    with pytest.raises(ValidationError):
        TimmConfig(**{**PROBE, "views": 0})
    whole = TimmConfig(**PROBE, views=2)
    for model in (whole.unfrozen(), whole.without_pretrained()):
        assert TimmConfig.model_validate(model.model_dump()) == model


def test_cutmix_needs_pixels():
    values = {"data": {"name": "digits", "augment": {"cutmix": 1.0}}, "optimizer": {"name": "sgd"}}
    with pytest.raises(ValidationError, match="cutmix pastes pixels"):
        TrialConfig.from_dict({**values, "model": {"name": "timm", **PROBE}})
    for change in ({"features": "live"}, {"frozen": False}):
        TrialConfig.from_dict({**values, "model": {"name": "timm", **PROBE, **change}})
