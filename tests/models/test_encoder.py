"""AlexNet on the U-Net's encoder, frozen and not, and the autoencoder itself."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import mse_loss

from hwcls import models
from hwcls.config.model import PretrainConfig
from hwcls.errors import UserError
from hwcls.models.alexnet import AlexNetConfig

torch.set_num_threads(1)
FROZEN = AlexNetConfig(width=8, pretrain=PretrainConfig(frozen=True))
TUNED = AlexNetConfig(width=8, pretrain=PretrainConfig(frozen=False))


def build(config: AlexNetConfig) -> torch.nn.Module:
    torch.manual_seed(0)
    return models.build(config, classes=5, channels=1, image_size=28)


@pytest.mark.parametrize("size", [8, 28, 30, 33, 64])
def test_reconstructions_have_the_shape_of_the_images(size: int) -> None:
    autoencoder = FROZEN.build_autoencoder(channels=3, image_size=size)
    assert autoencoder(torch.zeros(2, 3, size, size)).shape == (2, 3, size, size)
    with pytest.raises(UserError, match="7x7"):
        FROZEN.build_autoencoder(channels=3, image_size=7)


def test_the_encoder_fits_the_classifier() -> None:
    torch.manual_seed(1)
    weights = TUNED.build_autoencoder(channels=1, image_size=28).encoder.state_dict()
    model = build(TUNED)
    model.encoder.load_state_dict(weights)
    assert model.encoder(torch.zeros(2, 1, 28, 28)).shape == (2, 16, 7, 7)
    assert not list(build(AlexNetConfig(width=8)).encoder.parameters()), "no encoder without pretrain"


def test_a_frozen_encoder_does_not_change() -> None:
    model = build(FROZEN)
    model.train(False).train(True)
    assert not any(one.training for one in model.encoder.modules())
    assert model.features.training
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], lr=0.1)
    model(torch.randn(4, 1, 28, 28)).square().sum().backward()
    optimizer.step()
    for name, value in model.state_dict().items():
        if name.startswith("encoder."):
            assert torch.equal(value, before[name]), name
    assert not torch.equal(model.features[0].weight, before["features.0.weight"])
    assert all(one.grad is None for one in model.encoder.parameters())


def test_a_tuned_encoder_learns() -> None:
    model = build(TUNED).train()
    assert all(one.training for one in model.encoder.modules())
    model(torch.randn(4, 1, 28, 28)).square().sum().backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in model.encoder.parameters())


def test_the_deep_levels_carry_the_image() -> None:
    """Without any skip a trained autoencoder still tells images apart, which one that only copies could not."""
    torch.manual_seed(0)
    autoencoder = AlexNetConfig(width=8).build_autoencoder(channels=1, image_size=16)
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=3e-3)
    images = torch.nn.functional.interpolate(torch.randn(32, 1, 4, 4), size=16)  # (32, 1, 16, 16)
    for _ in range(100):
        optimizer.zero_grad()
        mse_loss(autoencoder(images), images).backward()
        optimizer.step()
    autoencoder.eval()
    with torch.no_grad():
        assert mse_loss(autoencoder(images), images) < 0.2 * images.var()
        coarse = autoencoder.encoder.levels(images)
        autoencoder.encoder.levels = lambda x: [*map(torch.zeros_like, coarse[:-1]), coarse[-1]]
        assert mse_loss(autoencoder(images), images) < 0.5 * images.var()
