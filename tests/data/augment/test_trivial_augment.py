"""TrivialAugment against PIL and torchvision's table of the wide space, one image and one operation at a time."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torchvision.transforms import TrivialAugmentWide

from hwcls.config.data import AugmentConfig
from hwcls.data.augment import colour
from hwcls.data.augment.apply import Normalise, augment_batch, warp_images
from hwcls.data.augment.parameters import AugmentPlan, plan_epoch
from hwcls.data.augment.trivial_augment import (
    COLOUR,
    LEVELS,
    OPS,
    apply_colour_operations,
    apply_to_all,
    draw_operations,
)

CPU = torch.device("cpu")
SIDE = 16
ENHANCE = {
    "brightness": ImageEnhance.Brightness,
    "saturation": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "sharpness": ImageEnhance.Sharpness,
}
THEIRS = {  # torchvision's names
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateX",
    "translate_y": "TranslateY",
    "rotate": "Rotate",
    "brightness": "Brightness",
    "saturation": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "posterize": "Posterize",
    "solarize": "Solarize",
}


def every(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The operation's draws at all strengths, negative and positive."""
    level = np.tile((np.arange(LEVELS) + 0.5) / LEVELS, 2)
    op = np.full(2 * LEVELS, (OPS.index(name) + 0.5) / len(OPS))
    return draw_operations(np.stack([op, level, np.repeat([0.0, 0.9], LEVELS)]), SIDE)


def reference(image: np.ndarray, name: str, magnitude: float) -> np.ndarray:
    """The paper's operation by PIL; geometry bilinear, with black outside."""
    picture = Image.fromarray(image)
    affine = {
        "shear_x": (1, magnitude, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, magnitude, 1, 0),
        "translate_x": (1, 0, int(magnitude), 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, int(magnitude)),
    }
    if name in affine:
        wide = ImageOps.expand(picture, 2)  # PIL drops the half pixels at the border, which then fade to black
        a, b, c, d, e, f = affine[name]
        shifted = (a, b, c - 2 * a - 2 * b + 2, d, e, f - 2 * d - 2 * e + 2)
        done = wide.transform(wide.size, Image.Transform.AFFINE, shifted, Image.Resampling.BILINEAR)
        done = done.crop((2, 2, 2 + SIDE, 2 + SIDE))
    elif name == "rotate":
        done = ImageOps.expand(picture, 2).rotate(magnitude, Image.Resampling.BILINEAR).crop((2, 2, 2 + SIDE, 2 + SIDE))
    elif name in ENHANCE:
        done = ENHANCE[name](picture).enhance(1 + magnitude)
    else:
        change = {
            "identity": lambda: picture,
            "posterize": lambda: ImageOps.posterize(picture, int(magnitude)),
            "solarize": lambda: ImageOps.solarize(picture, magnitude),  # type: ignore[arg-type]
            "autocontrast": lambda: ImageOps.autocontrast(picture),
            "equalize": lambda: ImageOps.equalize(picture),
        }
        done = change[name]()
    return np.asarray(done)


def magnitudes(name: str) -> np.ndarray:
    """torchvision's strengths of the operation, (62,): its 31 with a minus sign, then with a plus."""
    if name not in THEIRS:
        return np.zeros(2 * LEVELS)
    values, signed = TrivialAugmentWide()._augmentation_space(LEVELS)[THEIRS[name]]
    values = np.round(values.double().numpy(), 3)  # its 15.999999 pixels would be cut to 15
    return np.concatenate([-values if signed else values, values])


@pytest.mark.parametrize("name", OPS)
def test_operations_at_every_strength(make: SimpleNamespace, name: str) -> None:
    op, theta, strength = every(name)
    assert set(op.tolist()) == {OPS.index(name)}
    pixels = make.noise(1, len(op), SIDE, SIDE, 3) // 2 + 50
    config = AugmentConfig(trivial=True)
    plan = AugmentPlan(torch.arange(len(op)), op=torch.from_numpy(op), strength=torch.from_numpy(strength))
    plan.theta = torch.from_numpy(theta)
    plain = Normalise((0.0,) * 3, (1 / 255,) * 3, SIDE, CPU, torch.float32)  # pixels as they are
    got = augment_batch(torch.from_numpy(pixels), plan.to(CPU, torch.float32), config, plain).numpy()
    error = {"posterize": 1e-3, "solarize": 1e-3, "equalize": 1e-3, "identity": 1e-3}.get(name, 1.5)
    if name.startswith("translate"):
        error = 1e-3
    for image, changed, magnitude in zip(pixels, got, magnitudes(name).tolist(), strict=True):
        want = reference(image, name, magnitude)
        assert np.abs(changed - want).max() < error, magnitude  # of 255; PIL rounds what it interpolates or blends


def test_draws_are_uniform() -> None:
    plan = plan_epoch(AugmentConfig(trivial=True), 28_000, SIDE, 0, 1)
    assert plan.op is not None
    assert plan.strength is not None
    counts = torch.bincount(plan.op, minlength=len(OPS))
    assert len(counts) == len(OPS)
    assert ((counts > 1800) & (counts < 2200)).all()
    bright = plan.strength[plan.op == OPS.index("brightness")].unique()
    assert len(bright) == 2 * LEVELS - 1  # nothing has no sign
    assert bright.min() == pytest.approx(0.01)
    assert bright.max() == pytest.approx(1.99)
    assert sorted(plan.strength[plan.op == OPS.index("posterize")].unique().tolist()) == [2, 3, 4, 5, 6, 7, 8]
    assert set(COLOUR) < set(OPS)


@pytest.mark.parametrize(
    "config",
    [AugmentConfig(crop=3, hflip=True), AugmentConfig(rotate=30, resized_crop=0.5, vflip=True)],
)
def test_geometry_is_one_warp(make: SimpleNamespace, config: AugmentConfig) -> None:
    """The composed map looks a point up where the two maps, one after the other, do."""
    count = 400
    both = plan_epoch(config.model_copy(update={"trivial": True}), count, SIDE, 4, 1)
    first = plan_epoch(config.model_copy(update={"rotate": config.rotate or 1e-12}), count, SIDE, 4, 1)
    assert both.theta is not None
    assert first.theta is not None
    table = np.random.Generator(np.random.PCG64([4, 1, 2])).random((29, count))
    op, then, _ = draw_operations(table[26:29], SIDE)
    assert torch.equal(both.op, torch.from_numpy(op))  # type: ignore[arg-type]
    points = np.array([[-7.5, -7.5, 1], [3, 2, 1], [0, 0, 1.0]]).T
    for i in range(count):
        inner = then[i] @ points
        want = first.theta[i].numpy() @ np.vstack([inner, np.ones(3)])
        assert np.allclose(both.theta[i].numpy() @ points, want, atol=1e-9)
    pixels = torch.from_numpy(make.noise(0, count, SIDE, SIDE, 3))
    plan = both.to(CPU, torch.float32)
    norm = Normalise((0.5,) * 3, (0.2,) * 3, SIDE, CPU, torch.float32)
    got = augment_batch(pixels, plan, config.model_copy(update={"trivial": True}), norm)
    moved = both.op < OPS.index("brightness")  # type: ignore[operator]
    want = norm(warp_images(pixels.float(), plan.theta, True))  # type: ignore[arg-type]
    assert torch.equal(got[moved], want[moved])
    assert not torch.equal(got[~moved], want[~moved])


def test_order_of_the_steps(make: SimpleNamespace) -> None:
    """Warp, colour, TrivialAugment's colour, normalise, erase, cutout."""
    jitter = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.3}
    config = AugmentConfig.model_validate({"rotate": 40, "trivial": True, "erase": 0.5, "cutout": 6, **jitter})
    plan = plan_epoch(config, 200, SIDE, 0, 1).to(CPU, torch.float32)
    pixels = torch.from_numpy(make.noise(0, 200, SIDE, SIDE, 3))
    norm = Normalise((0.4, 0.5, 0.6), (0.2, 0.2, 0.3), SIDE, CPU, torch.float32)
    assert plan.theta is not None
    assert plan.colour is not None
    assert plan.op is not None
    assert plan.strength is not None
    planes = warp_images(pixels.float(), plan.theta, True).permute(0, 3, 1, 2)
    for column, change in enumerate((colour.brightness, colour.contrast, colour.saturation, colour.hue)):
        planes = change(planes, plan.colour[:, column])
    want = norm(apply_colour_operations(planes, plan.op, plan.strength).permute(0, 2, 3, 1).contiguous())
    for rectangles in (plan.hole, plan.square):
        assert rectangles is not None
        for image, (top, bottom, left, right) in zip(want, rectangles.tolist(), strict=True):
            image[top:bottom, left:right] = 0
    assert torch.equal(augment_batch(pixels, plan, config, norm), want)


@pytest.mark.parametrize(("channels", "side"), [(3, SIDE), (1, SIDE), (3, 2)])
def test_all_images_at_once_as_on_a_gpu(make: SimpleNamespace, channels: int, side: int) -> None:
    """Equal to the bit, whichever operation an image gets."""
    images = torch.from_numpy(make.noise(0, 140, side, side, channels)).float().permute(0, 3, 1, 2).contiguous()
    op, _, strength = draw_operations(np.random.default_rng(0).random((3, 140)), side)
    assert len(set(op)) == len(OPS)
    drawn = torch.from_numpy(op), torch.from_numpy(strength).float()
    got = apply_to_all(images, *drawn)
    assert torch.equal(got, apply_colour_operations(images.clone(), *drawn))
    assert not torch.equal(got, images)


def test_grey_images(make: SimpleNamespace) -> None:
    """One channel is changed as three equal ones are."""
    config, count = AugmentConfig(trivial=True, brightness=0.3, contrast=0.3, saturation=0.5, hue=0.2), 300
    plan = plan_epoch(config, count, SIDE, 0, 1).to(CPU, torch.float32)
    pixels = torch.from_numpy(make.noise(0, count, SIDE, SIDE, 1))
    one = augment_batch(pixels, plan, config, Normalise((0.0,), (1 / 255,), SIDE, CPU, torch.float32))
    three = augment_batch(
        pixels.expand(-1, -1, -1, 3).contiguous(),
        plan,
        config,
        Normalise((0.0,) * 3, (1 / 255,) * 3, SIDE, CPU, torch.float32),
    )
    jumps = torch.isin(plan.op, torch.tensor([OPS.index(name) for name in ("posterize", "solarize", "equalize")]))  # type: ignore[arg-type]
    assert (one.expand(-1, -1, -1, 3) - three)[~jumps].abs().max() < 0.02  # of 255
    assert ((one.expand(-1, -1, -1, 3) - three)[jumps].abs() < 0.02).float().mean() > 0.99  # rounding may go either way
