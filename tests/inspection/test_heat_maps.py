"""Heat maps lie where a model looks, for every family."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate

from hwcls import models
from hwcls.config.model import HeadConfig, PretrainConfig
from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import InputSpec
from hwcls.errors import UserError
from hwcls.inspection.heat_maps import GRAD_CAM, choose_method, find_last_map, require_captum
from hwcls.inspection.load_trained import Trained, normalise_pixels
from hwcls.models.alexnet import AlexNetConfig
from hwcls.models.mlp import MlpConfig
from hwcls.models.simple_cnn import SimpleCnnConfig
from hwcls.models.timm import TimmConfig
from tests.models.test_families import FAMILIES

SIDE, CORNERS = 32, 4
WITHOUT_MAP = {"mlp", "mlp-widths", "timm-vit"}
SMALL_MAP = {"timm", "timm-efficientnet", "alexnet-encoder"}  # 2 x 2 or less at the end, for 32 pixels


def as_trained(config, model=None, classes=5, channels=3, size=SIDE):
    torch.manual_seed(0)
    model = model or models.build(config, classes=classes, channels=channels, image_size=size)
    inputs = InputSpec("toy", tuple(map(str, range(classes))), size, channels, (0.5,) * channels, (0.5,) * channels)
    trial = TrialConfig.from_dict(
        {"data": {"name": "digits"}, "model": config.model_dump(), "optimizer": {"name": "adam"}}
    )
    return Trained(Path("toy"), trial, inputs, model.eval(), torch.device("cpu"))


def corners(count, seed):
    """(count, S, S, 1) uint8 with a bright square in one corner, and the number of that corner."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, CORNERS, count)
    pixels = draw.integers(100, 120, (count, SIDE, SIDE, 1), np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        top, left = (16 * corner + draw.integers(0, 9) for corner in divmod(label, 2))
        image[top : top + 7, left : left + 7] = 250
    return pixels, labels


@pytest.fixture(scope="module", params=["simple_cnn", "alexnet", "mlp"])
def corner_finder(request):
    """A model that tells in which corner the square is."""
    configs = [SimpleCnnConfig(width=8), AlexNetConfig(width=8, dropout=0.0), MlpConfig(width=64, depth=1)]
    trained = as_trained(next(one for one in configs if one.name == request.param), classes=CORNERS, channels=1)
    optimizer = torch.optim.Adam(trained.model.parameters(), lr=2e-3)
    trained.model.train()
    for step in range(100):
        pixels, labels = corners(32, step)
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        optimizer.zero_grad()
        cross_entropy(trained.model(images), torch.from_numpy(labels)).backward()
        optimizer.step()
    trained.model.eval()
    return trained


def share_in_corner(heat, labels):
    """The share of the heat maps (B, S, S) whose maximum lies in the image's corner."""
    rows, columns = np.divmod(heat.reshape(len(heat), -1).argmax(1), SIDE)
    return (rows // 16 * 2 + columns // 16 == labels).mean()


def test_the_heat_lies_where_the_class_is(corner_finder):
    pixels, labels = corners(32, 1000)
    assert (corner_finder.probabilities(pixels).argmax(1) == labels).mean() > 0.9
    heat = choose_method(corner_finder).compute(pixels, labels)
    assert share_in_corner(heat, labels) > 0.9
    half = heat.reshape(len(heat), 2, 16, 2, 16).sum((2, 4)).reshape(len(heat), CORNERS)
    assert (half.argmax(1) == labels).mean() > 0.9


@pytest.mark.parametrize("corner_finder", ["simple_cnn"], indirect=True)
def test_the_mean_of_the_gradients_would_mislead(corner_finder):
    from captum.attr import LayerGradCam

    pixels, labels = corners(64, 1000)
    images = normalise_pixels(corner_finder.inputs, pixels, corner_finder.device)
    layer, _ = find_last_map(corner_finder.model, images)
    found = LayerGradCam(corner_finder.model, layer).attribute(images, torch.from_numpy(labels), relu_attributions=True)
    heat = interpolate(found.detach(), (SIDE, SIDE), mode="bilinear")[:, 0].numpy()
    assert share_in_corner(heat, labels) < 0.5


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family):
    trained = as_trained(FAMILIES[family])
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    before = trained.probabilities(pixels)
    found = choose_method(trained)
    assert (found.method == GRAD_CAM) == (not found.reason) == (family not in WITHOUT_MAP | SMALL_MAP), found.reason
    heat = found.compute(pixels, before.argmax(1))
    assert heat.shape == (3, SIDE, SIDE)
    assert heat.dtype == np.float32
    assert ((heat >= 0) & (heat <= 1)).all()
    assert set(heat.max((1, 2))) <= {0.0, 1.0}
    assert heat.any()
    one = found.compute(pixels[1:2], before.argmax(1)[1:2])
    assert np.allclose(one[0], heat[1], atol=1e-4), "an image's map depends on its batch"
    assert np.array_equal(trained.probabilities(pixels), before), "explaining has changed the model"


@pytest.mark.parametrize("family", sorted(SMALL_MAP))
def test_a_larger_image_has_a_larger_map(family):
    found = choose_method(as_trained(FAMILIES[family], size=128))
    assert (found.method, found.reason) == (GRAD_CAM, "")


@pytest.mark.parametrize(
    "config",
    [
        TimmConfig(backbone="test_efficientnet", frozen=True),
        AlexNetConfig(width=4, pretrain=PretrainConfig(frozen=True), head=HeadConfig()),
    ],
    ids=["timm", "alexnet"],
)
def test_a_frozen_part_is_explained_like_any_other(config):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), np.uint8)
    frozen = as_trained(config, size=128)
    free = as_trained(config.unfrozen(), size=128)
    free.model.load_state_dict(frozen.model.state_dict())
    classes = frozen.probabilities(pixels).argmax(1)
    found = [choose_method(one) for one in (frozen, free)]
    assert [one.method for one in found] == [GRAD_CAM, GRAD_CAM]
    assert np.allclose(*(one.compute(pixels, classes) for one in found), atol=1e-5)


def test_the_last_map_is_the_one_before_positions_are_merged():
    def last(*layers):
        return find_last_map(nn.Sequential(*layers), torch.zeros(1, 3, 16, 16))

    conv, relu, last_conv = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, padding=1)
    merge = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    assert last(conv, last_conv, relu, *merge) == (relu, 16)
    assert last(conv, last_conv, nn.AvgPool2d(2), *merge) == (last_conv, 16)
    assert last(conv, relu, last_conv, relu, *merge) == (last_conv, 16), "a module that runs twice has no one output"
    assert last(conv, nn.Flatten(2), nn.Linear(256, 4), nn.Flatten(), nn.Linear(16, 2)) == (None, 0), "tokens follow"
    assert last(nn.Flatten(), nn.Linear(768, 2)) == (None, 0)


def test_without_captum(monkeypatch):
    require_captum()
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setattr("hwcls.inspection.heat_maps.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"--explain needs captum — pip install 'hwcls\[explain\]'"):
        require_captum()


@pytest.mark.parametrize("way", ["detach", "no_grad"])
def test_a_model_whose_gradients_end_is_explained_by_occlusion(way):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 5)

        def forward(self, images):
            with torch.set_grad_enabled(torch.is_grad_enabled() and way != "no_grad"):
                found = self.convolution(images)
            return self.head((found.detach() if way == "detach" else found).mean((2, 3)))

    trained = as_trained(SimpleCnnConfig(), model=Own())
    found = choose_method(trained)
    assert (found.method, found.reason) == ("occlusion", "no gradient reaches its last feature map")
    heat = found.compute(np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8), np.array([0, 1]))
    assert heat.shape == (2, SIDE, SIDE)
