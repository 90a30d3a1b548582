"""Each change of colour against torchvision's and PIL's, one image at a time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as slow

from hwcls.config.data import AugmentConfig
from hwcls.data.augment import colour
from hwcls.data.augment.apply import Normalise, augment_batch, change_colours, shift_images
from hwcls.data.augment.parameters import AugmentPlan, plan_epoch

COUNT, SIDE = 40, 12


def pictures(channels: int = 3) -> Tensor:
    """(b, C, S, S) floats with integer values: noise, dark, bright, low contrast, one colour, grey, two values."""
    images = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, channels))
    images[5:10] //= 4
    images[10:15] = 255 - images[10:15] // 5
    images[15:20] = 100 + images[15:20] // 20
    images[20] = images[20, 0, 0]
    images[21:25] = images[21:25, :, :, :1]
    images[25:28] = np.where(images[25:28] < 200, 7, 250)
    images[28, 1:] = images[28, 0, 0]  # one value fills nearly everything
    return torch.from_numpy(images).float().permute(0, 3, 1, 2).contiguous()


def one_by_one(images: Tensor, change: Callable[[Tensor, float], Tensor], strength: Tensor) -> Tensor:
    """torchvision's change in float64, where pixels are from 0 to 1, on each image by itself."""
    done = [change(image.double() / 255, float(s)) for image, s in zip(images, strength, strict=True)]
    return torch.stack(done) * 255


def pil(image: Tensor) -> Image.Image:
    pixels = image.permute(1, 2, 0).to(torch.uint8).numpy()
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def back(image: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(image)).float()
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("ours", "theirs", "error"),  # of 255; torchvision's luma weights sum to 0.9999, ours to 1
    [
        (colour.brightness, slow.adjust_brightness, 1e-4),
        (colour.contrast, slow.adjust_contrast, 0.03),
        (colour.saturation, slow.adjust_saturation, 0.03),
    ],
)
def test_factors(channels: int, ours: Callable[..., Tensor], theirs: Callable[..., Tensor], error: float) -> None:
    images, factor = pictures(channels), torch.linspace(0, 2, COUNT)
    got = ours(images, factor)
    assert (got - one_by_one(images, theirs, factor)).abs().max() < error
    assert torch.equal(ours(images, torch.ones(COUNT)), images)  # factor 1 is the image itself
    assert not torch.equal(got, images) or (channels == 1 and ours is colour.saturation)


def test_hue() -> None:
    images, turn = pictures(), torch.linspace(-0.5, 0.5, COUNT)
    got = colour.hue(images, turn)
    assert (got - one_by_one(images, slow.adjust_hue, turn)).abs().max() < 1e-3
    assert torch.equal(got[21:25], images[21:25])  # grey
    red = torch.tensor([255.0, 0, 0])[:, None, None].expand(1, 3, 4, 4)
    assert colour.hue(red, torch.tensor([1 / 3]))[0, :, 0, 0].tolist() == pytest.approx([0, 255, 0], abs=1e-3)
    single = pictures(1)
    assert torch.equal(colour.hue(single, turn), single)


@pytest.mark.parametrize("channels", [1, 3])
def test_sharpness(channels: int) -> None:
    images, factor = pictures(channels), torch.linspace(0.01, 1.99, COUNT)
    got = colour.sharpness(images, factor)
    for image, changed, strength in zip(images, got, factor.tolist(), strict=True):
        want = back(ImageEnhance.Sharpness(pil(image)).enhance(strength))
        assert (changed - want).abs().max() < 2  # PIL rounds the filtered image and truncates the blend to integers
    assert torch.equal(colour.sharpness(images[..., :2, :2], factor), images[..., :2, :2])  # too small to be filtered
    flat = one_by_one(images, slow.adjust_sharpness, factor)
    assert (got - flat).abs().max() < 1e-3


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("wobble", [0.0, 0.01])  # what a warp leaves of integers
def test_posterize_solarize_equalize_are_exact(channels: int, wobble: float) -> None:
    images = pictures(channels)
    warped = images + wobble * torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).clamp(-3, 3)
    bits = torch.arange(COUNT) % 7 + 2.0
    threshold = 255 * (1 - (torch.arange(COUNT) % 31) / 30)
    posterized, solarized = colour.posterize(warped, bits), colour.solarize(warped, threshold)
    equalized = colour.equalize(warped)
    for i, image in enumerate(images):
        original = pil(image)
        assert torch.equal(posterized[i], back(ImageOps.posterize(original, int(bits[i]))))
        assert torch.equal(solarized[i], back(ImageOps.solarize(original, float(threshold[i]))))  # type: ignore[arg-type]
        assert torch.equal(equalized[i], back(ImageOps.equalize(original)))


@pytest.mark.parametrize("channels", [1, 3])
def test_autocontrast(channels: int) -> None:
    images = pictures(channels)
    got = colour.autocontrast(images)
    for image, changed in zip(images, got, strict=True):
        assert (changed - back(ImageOps.autocontrast(pil(image)))).abs().max() < 1.01  # PIL truncates to integers
    assert torch.equal(got[20], images[20])
    assert (got - one_by_one(images, lambda image, _: slow.autocontrast(image), torch.zeros(COUNT))).abs().max() < 1e-3


CHANGES = {
    "brightness": colour.brightness,
    "contrast": colour.contrast,
    "saturation": colour.saturation,
    "hue": colour.hue,
    "sharpness": colour.sharpness,
    "solarize": colour.solarize,
    "autocontrast": lambda images, _: colour.autocontrast(images),
    "equalize": lambda images, _: colour.equalize(images),
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_image_alone_is_what_it_is_in_a_batch(name: str) -> None:
    images = pictures() + 0.37  # not integers: sums would be rounded
    strength = torch.linspace(-0.4, 1.7, COUNT)
    together = CHANGES[name](images, strength)
    alone = [CHANGES[name](images[i : i + 1], strength[i : i + 1]) for i in range(COUNT)]
    assert torch.equal(together, torch.cat(alone))


def test_jitter_draws_as_torchvision_and_goes_in_order() -> None:
    config = AugmentConfig(brightness=0.4, contrast=1.5, saturation=0.2, hue=0.1)
    drawn = plan_epoch(config, 4000, SIDE, 0, 1).colour
    assert drawn is not None
    for column, (low, high) in enumerate([(0.6, 1.4), (0.0, 2.5), (0.8, 1.2), (-0.1, 0.1)]):
        values = drawn[:, column]
        near = 0.01 * (high - low)
        assert low <= float(values.min()) < low + near
        assert high - near < float(values.max()) <= high
        assert abs(float(values.mean()) - (low + high) / 2) < 3 * near
    assert float(torch.corrcoef(drawn.T).fill_diagonal_(0).abs().max()) < 0.06  # drawn apart

    images, strengths = pictures(), drawn[:COUNT].float()
    want = images
    for column, change in enumerate([slow.adjust_brightness, slow.adjust_contrast, slow.adjust_saturation]):
        want = one_by_one(want, change, strengths[:, column])
    want = one_by_one(want, slow.adjust_hue, strengths[:, 3])
    plan = AugmentPlan(torch.arange(COUNT), colour=strengths)
    got = change_colours(images.permute(0, 2, 3, 1), plan, config).permute(0, 3, 1, 2)
    assert (got - want).abs().max() < 0.1
    only = change_colours(images.permute(0, 2, 3, 1), plan, AugmentConfig(contrast=1.5)).permute(0, 3, 1, 2)
    assert torch.equal(only, colour.contrast(images, strengths[:, 1]))


def test_jitter_on_stored_pixels(make: SimpleNamespace) -> None:
    config = AugmentConfig(crop=2, brightness=0.5)
    plan = plan_epoch(config, 16, SIDE, 0, 1).to(torch.device("cpu"), torch.float32)
    pixels = torch.from_numpy(make.noise(0, 16, SIDE, SIDE, 3))
    norm = Normalise((0.4, 0.5, 0.6), (0.2, 0.25, 0.3), SIDE, torch.device("cpu"), torch.float32)
    plain = plan_epoch(AugmentConfig(crop=2), 16, SIDE, 0, 1)
    assert plan.colour is not None
    assert plan.shift is not None
    assert torch.equal(plan.shift, plain.shift)  # type: ignore[arg-type]
    want = norm((shift_images(pixels, plan.shift, 2) * plan.colour[:, 0, None, None, None]).clamp(0, 255))
    assert torch.equal(augment_batch(pixels, plan, config, norm), want)
