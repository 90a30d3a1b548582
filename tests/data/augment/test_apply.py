"""Each operation against a slow reference, one image and one pixel at a time."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor
from torchvision.transforms import RandomResizedCrop

from hwcls.config.data import AugmentConfig
from hwcls.data.augment.apply import (
    Normalise,
    augment_batch,
    flip_images,
    mix_images,
    outside_mask,
    shift_images,
    warp_images,
)
from hwcls.data.augment.parameters import ERASED_AREA, AugmentPlan, plan_epoch

CPU = torch.device("cpu")
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def normalise(side: int, channels: int = 3, dtype: torch.dtype = torch.float32) -> Normalise:
    return Normalise(MEAN[:channels], STD[:channels], side, CPU, dtype)


def bilinear(image: np.ndarray, theta: np.ndarray, exposed: bool) -> np.ndarray:
    """Inverse mapping with bilinear interpolation in float64, pixel by pixel; (S, S, C)."""
    side = len(image)

    def at(y: int, x: int) -> np.ndarray:
        if exposed and not (0 <= y < side and 0 <= x < side):
            return np.zeros(image.shape[2])
        return image[min(max(y, 0), side - 1), min(max(x, 0), side - 1)].astype(np.float64)

    out = np.zeros(image.shape)
    half = side / 2
    for row in range(side):
        for column in range(side):
            x, y = theta[:, :2] @ (column + 0.5 - half, row + 0.5 - half) + theta[:, 2] + half - 0.5
            if not exposed:
                x, y = min(max(x, 0), side - 1), min(max(y, 0), side - 1)
            left, top = int(np.floor(x)), int(np.floor(y))
            right, down = x - left, y - top
            upper = at(top, left) * (1 - right) + at(top, left + 1) * right
            lower = at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right
            out[row, column] = upper * (1 - down) + lower * down
    return out


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("crop", [1, 4, 20])
def test_crop_and_flips_move_pixels_exactly(make: SimpleNamespace, channels: int, crop: int) -> None:
    side, count = 12, 64
    config = AugmentConfig(crop=crop, hflip=True, vflip=True)
    plan = plan_epoch(config, count, side, seed=1, epoch=2)
    pixels = make.noise(0, count, side, side, channels)
    norm = normalise(side, channels)
    got = augment_batch(torch.from_numpy(pixels), plan, config, norm)
    assert plan.shift is not None
    assert plan.hflip is not None
    assert plan.vflip is not None
    for i in range(count):
        dy, dx = plan.shift[i].tolist()
        padded = np.pad(pixels[i], ((crop, crop), (crop, crop), (0, 0)))
        want = padded[crop + dy : crop + dy + side, crop + dx : crop + dx + side]
        want = want[::-1] if plan.vflip[i] else want
        want = want[:, ::-1] if plan.hflip[i] else want
        scale = np.array([1 / (255 * s) for s in STD[:channels]], np.float32)
        offset = np.array([-m / s for m, s in zip(MEAN, STD, strict=True)][:channels], np.float32)
        assert np.array_equal(got[i].numpy(), want.astype(np.float32) * scale + offset)
    assert set(plan.shift[:, 0].tolist()) <= set(range(-crop, crop + 1))


def test_every_shift_is_drawn() -> None:
    plan = plan_epoch(AugmentConfig(crop=2), 2000, 8, seed=0, epoch=1)
    assert plan.shift is not None
    counts = np.unique(plan.shift.numpy(), axis=0, return_counts=True)[1]
    assert len(counts) == 25
    assert counts.min() > 40


def test_half_of_the_images_are_flipped_each_way_alone() -> None:
    config, count = AugmentConfig(hflip=True, vflip=True), 40_000
    plan = plan_epoch(config, count, 8, seed=0, epoch=1)
    turned = plan_epoch(config.model_copy(update={"rotate": 1e-9}), count, 8, seed=0, epoch=1)
    assert plan.hflip is not None
    assert plan.vflip is not None
    assert turned.theta is not None
    shares = [float((plan.vflip & plan.hflip).sum()), float((~plan.vflip & plan.hflip).sum())]
    shares += [float((plan.vflip & ~plan.hflip).sum()), float((~plan.vflip & ~plan.hflip).sum())]
    assert [share / count for share in shares] == pytest.approx([0.25] * 4, abs=0.01)  # 4.6 standard deviations
    assert torch.equal(turned.theta[:, 0, 0] < 0, plan.hflip)
    assert torch.equal(turned.theta[:, 1, 1] < 0, plan.vflip)
    for name, other in (("hflip", "vflip"), ("vflip", "hflip")):
        single = plan_epoch(AugmentConfig.model_validate({name: True}), count, 8, seed=0, epoch=1)
        assert torch.equal(getattr(single, name), getattr(plan, name))
        assert getattr(single, other) is None


@pytest.mark.parametrize(
    "config",
    [
        AugmentConfig(rotate=30),
        AugmentConfig(resized_crop=0.3, hflip=True),
        AugmentConfig(translate=0.2, scale=0.3, vflip=True),
        AugmentConfig(rotate=180, resized_crop=0.5, translate=0.1, scale=0.2, crop=3, hflip=True, vflip=True),
    ],
)
def test_warp_equals_the_pixelwise_reference(make: SimpleNamespace, config: AugmentConfig) -> None:
    side, count = 16, 12
    plan = plan_epoch(config, count, side, seed=3, epoch=1)
    pixels = make.noise(0, count, side, side, 3)
    assert plan.theta is not None
    exposed = bool(config.rotate or config.translate or config.scale or config.crop)
    exact = plan.to(CPU, torch.float32)
    got = warp_images(torch.from_numpy(pixels).float(), exact.theta, exposed)  # type: ignore[arg-type]
    for i in range(count):
        want = bilinear(pixels[i], plan.theta[i].numpy(), exposed)
        assert np.abs(got[i].numpy() - want).max() < 0.01  # grey levels of 255
    done = augment_batch(torch.from_numpy(pixels), exact, config, normalise(side))
    assert torch.equal(done, normalise(side)(got))


def test_theta_is_the_documented_map(make: SimpleNamespace) -> None:
    image = torch.from_numpy(make.noise(0, 1, 10, 10, 3)).double()

    def through(matrix: list[list[float]]) -> Tensor:
        return warp_images(image, torch.tensor([matrix], dtype=torch.float64), exposed=True)

    assert torch.allclose(through([[1, 0, 0], [0, 1, 0]]), image)
    assert torch.allclose(through([[0, -1, 0], [1, 0, 0]]), torch.rot90(image, 1, (1, 2)))
    moved = torch.zeros_like(image)
    moved[:, :, :-3] = image[:, :, 3:]
    assert torch.allclose(through([[1, 0, 3], [0, 1, 0]]), moved)


def test_a_warp_that_only_moves_equals_crop_and_flip(make: SimpleNamespace) -> None:
    pixels = torch.from_numpy(make.noise(0, 32, 12, 12, 3))
    moves = AugmentConfig(crop=3, hflip=True, vflip=True)
    turns = moves.model_copy(update={"rotate": 1e-9})
    images = [
        augment_batch(
            pixels, plan_epoch(config, 32, 12, 1, 1).to(CPU, torch.float64), config, normalise(12, 3, torch.float64)
        )
        for config in (moves, turns)
    ]
    assert torch.allclose(*images, atol=1e-6)


def test_geometry_stays_in_its_ranges() -> None:
    rotate = plan_epoch(AugmentConfig(rotate=30), 4000, 16, 0, 1).theta
    assert rotate is not None
    angle = torch.rad2deg(torch.atan2(rotate[:, 1, 0], rotate[:, 0, 0]))
    assert 29 < float(angle.max()) <= 30
    assert -30 <= float(angle.min()) < -29

    zoom = plan_epoch(AugmentConfig(scale=0.25), 4000, 16, 0, 1).theta
    assert zoom is not None
    factor = 1 / zoom[:, 0, 0]
    assert 0.75 <= float(factor.min()) < 0.76
    assert 1.24 < float(factor.max()) <= 1.25

    move = plan_epoch(AugmentConfig(translate=0.25), 4000, 16, 0, 1).theta
    assert move is not None
    assert 3.9 < float(move[:, :, 2].abs().max()) <= 4

    crop = plan_epoch(AugmentConfig(resized_crop=0.4), 4000, 16, 0, 1).theta
    assert crop is not None
    width, height = crop[:, 0, 0], crop[:, 1, 1]
    area = width * height
    assert 0.4 - 1e-9 <= float(area.min()) < 0.41
    assert 0.95 < float(area.max()) <= 1
    assert float((crop[:, :, 2].abs() + 8 * torch.stack([width, height], 1)).max()) <= 8 + 1e-9  # inside the image


def crops(least: float, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Widths, heights and left edges of resized crops, shares of the side."""
    theta = plan_epoch(AugmentConfig(resized_crop=least), count, 1, seed=0, epoch=1).theta
    assert theta is not None
    width, height = theta[:, 0, 0].numpy(), theta[:, 1, 1].numpy()
    return width, height, theta[:, 0, 2].numpy() + 0.5 - width / 2


@pytest.mark.parametrize("least", [1e-6, 0.08, 0.5, 0.9, 0.999, 1.0])
def test_resized_crops_keep_the_least_area(least: float) -> None:
    width, height, left = crops(least, 20_000)
    assert (width * height).min() >= least - 1e-12
    assert max(width.max(), height.max()) <= 1
    assert left.min() >= -1e-12
    assert (left + width).max() <= 1 + 1e-12
    ratio = width / height
    assert ratio.min() >= 3 / 4 - 1e-12
    assert ratio.max() <= 4 / 3 + 1e-12


@pytest.mark.parametrize("least", [0.08, 0.3, 0.5])
def test_resized_crops_are_distributed_as_torchvisions(least: float) -> None:
    side = 10_000  # pixels, as torchvision rounds to integers
    image = torch.empty(1).expand(3, side, side)
    torch.manual_seed(0)
    drawn = [RandomResizedCrop.get_params(image, [least, 1.0], [3 / 4, 4 / 3]) for _ in range(5000)]
    _, left, height, width = np.array(drawn).T / side
    ours = crops(least, 50_000)
    for statistic in (lambda w, h, x: w * h, lambda w, h, x: np.log(w / h), lambda w, h, x: x):
        assert ks_2samp(statistic(*ours), statistic(width, height, left)).pvalue > 0.01


def test_erasing(make: SimpleNamespace) -> None:
    side, count = 16, 400
    config = AugmentConfig(erase=0.5)
    plan = plan_epoch(config, count, side, 0, 1)
    pixels = torch.from_numpy(make.noise(0, count, side, side, 3))
    plain, got = normalise(side)(pixels), augment_batch(pixels, plan, config, normalise(side))
    assert plan.hole is not None
    share = []
    for i, (top, bottom, left, right) in enumerate(plan.hole.tolist()):
        want = plain[i].clone()
        want[top:bottom, left:right] = 0
        assert torch.equal(got[i], want)
        share.append((bottom - top) * (right - left) / side**2)
    erased = [one for one in share if one]
    assert 0.4 < len(erased) / count < 0.6
    assert min(erased) >= ERASED_AREA[0] / 2
    assert max(erased) <= ERASED_AREA[1] * 1.15  # integer pixels


@pytest.mark.parametrize("length", [1, 4, 5, 40])
def test_cutout(make: SimpleNamespace, length: int) -> None:
    side, count = 16, 500
    config = AugmentConfig(cutout=length)
    plan = plan_epoch(config, count, side, 0, 1)
    pixels = torch.from_numpy(make.noise(0, count, side, side, 3))
    plain, got = normalise(side)(pixels), augment_batch(pixels, plan, config, normalise(side))
    assert plan.square is not None
    table = np.random.Generator(np.random.PCG64([0, 1, 2])).random((26, count))
    for i in range(count):  # the authors' code, but for sides that are odd: theirs are one shorter
        y, x = (int(u * side) for u in table[24:26, i])
        want = plain[i].clone()
        want[max(y - length // 2, 0) : y - length // 2 + length, max(x - length // 2, 0) : x - length // 2 + length] = 0
        assert torch.equal(got[i], want)


def test_both_kinds_of_erasing(make: SimpleNamespace) -> None:
    config = AugmentConfig(cutout=4, erase=1.0)
    plan = plan_epoch(config, 50, 16, 0, 1)
    pixels = torch.from_numpy(make.noise(0, 50, 16, 16, 1))
    got = augment_batch(pixels, plan, config, normalise(16, 1))
    assert plan.hole is not None
    assert plan.square is not None
    kept = outside_mask(plan.hole, got) * outside_mask(plan.square, got)
    assert torch.equal(got[..., 0], normalise(16, 1)(pixels)[..., 0] * kept)


def test_mixup_and_cutmix(make: SimpleNamespace) -> None:
    side, count = 16, 300
    images = torch.from_numpy(make.noise(0, count, side, side, 3)).float()
    both = plan_epoch(AugmentConfig(mixup=0.4, cutmix=1.0), count, side, 0, 1)
    assert both.partner is not None
    assert both.share is not None
    assert both.blend is not None
    assert both.patch is not None
    assert (both.partner != torch.arange(count)).all()
    assert len(both.partner.unique()) > count / 2
    partners = images[both.partner]
    got = mix_images(images, partners, both.to(CPU, torch.float32))
    cut = both.patch.sum(1) > 0
    assert 0.35 < float(cut.float().mean()) < 0.6
    for i in range(count):
        share = float(both.share[i])
        if not cut[i]:
            assert torch.allclose(got[i], share * images[i] + (1 - share) * partners[i], atol=1e-3)
            continue
        top, bottom, left, right = both.patch[i].tolist()
        want = images[i].clone()
        want[top:bottom, left:right] = partners[i, top:bottom, left:right]
        assert torch.equal(got[i], want)
        assert share == pytest.approx(1 - (bottom - top) * (right - left) / side**2)
    only = plan_epoch(AugmentConfig(cutmix=1.0), count, side, 0, 1)
    assert only.blend is None
    assert only.share is not None
    assert 0.5 < float(only.share.mean()) < 0.85  # Beta(1, 1), less where the border cuts


def test_operations_do_not_change_each_others_draws() -> None:
    alone = plan_epoch(AugmentConfig(crop=2, hflip=True), 50, 8, 0, 1)
    others = {"brightness": 0.4, "hue": 0.1, "cutout": 3, "erase": 0.5, "cutmix": 1.0}
    more = plan_epoch(AugmentConfig.model_validate({"crop": 2, "hflip": True, **others}), 50, 8, 0, 1)
    assert torch.equal(alone.order, more.order)
    assert torch.equal(alone.shift, more.shift)  # type: ignore[arg-type]
    assert torch.equal(alone.hflip, more.hflip)  # type: ignore[arg-type]


def test_draws_stay_what_they_were() -> None:
    """Trials of an earlier version are repeated exactly: existing options draw what they always drew."""
    strong = AugmentConfig(crop=2, hflip=True, rotate=20, resized_crop=0.5, erase=0.5, mixup=0.3, cutmix=1.0)
    plan = plan_epoch(strong, 6, 12, seed=5, epoch=3)
    assert plan.order.tolist() == [2, 4, 5, 3, 1, 0]
    assert plan.theta is not None
    assert plan.partner is not None
    assert plan.hole is not None
    assert plan.share is not None
    theta = [0.7667840368236232, -0.07362945638305513, 2.5784294257257274]
    theta += [0.06959441677620011, 0.7247627574270863, 1.1514911623411233]
    share = [1.0, 0.8888888888888888, 0.371186163018707, 0.7569444444444444, 0.5, 0.04083209469381605]
    assert plan.theta[0].flatten().tolist() == pytest.approx(theta, rel=1e-12)
    whole = plan_epoch(strong.model_copy(update={"resized_crop": 0.0}), 6, 12, seed=5, epoch=3)
    assert whole.theta is not None
    turned = [0.9954213614805284, -0.09558406304531705, 2.0, 0.09558406304531705, 0.9954213614805284, 1.0]
    assert whole.theta[0].flatten().tolist() == pytest.approx(turned, rel=1e-12)
    assert plan.hole[2:4].tolist() == [[1, 3, 5, 7], [0, 6, 3, 8]]
    assert plan.partner.tolist() == [4, 2, 3, 2, 2, 1]
    assert plan.share.tolist() == pytest.approx(share, rel=1e-12)


def test_plan_is_a_function_of_seed_and_epoch() -> None:
    config = AugmentConfig(crop=2)
    plans = [plan_epoch(config, 40, 8, *pair) for pair in ((0, 1), (0, 1), (0, 2), (1, 1))]
    orders = [tuple(plan.order.tolist()) for plan in plans]
    assert orders[0] == orders[1]
    assert len(set(orders)) == 3
    assert sorted(orders[0]) == list(range(40))
    assert torch.equal(plans[0].shift, plans[1].shift)  # type: ignore[arg-type]
    assert not torch.equal(plans[0].shift, plans[2].shift)  # type: ignore[arg-type]


def test_nothing_asked_nothing_done(make: SimpleNamespace) -> None:
    pixels = torch.from_numpy(make.noise(0, 5, 8, 8, 3))
    plan = plan_epoch(AugmentConfig(), 5, 8, 0, 1)
    assert plan == AugmentPlan(plan.order)
    assert torch.equal(augment_batch(pixels, plan, AugmentConfig(), normalise(8)), normalise(8)(pixels))
    want = (pixels.double() / 255 - torch.tensor(MEAN).double()) / torch.tensor(STD).double()
    assert torch.allclose(normalise(8)(pixels).double(), want, atol=1e-5)
    assert pixels.dtype == torch.uint8  # the caller's pixels are left alone


def test_helpers_on_one_image() -> None:
    pixels = torch.arange(9, dtype=torch.uint8).view(1, 3, 3, 1)
    down = shift_images(pixels, torch.tensor([[-1, 0]]), 1)
    assert down[0, :, :, 0].tolist() == [[0, 0, 0], [0, 1, 2], [3, 4, 5]]
    assert flip_images(pixels, torch.tensor([True]), 2)[0, 0, :, 0].tolist() == [2, 1, 0]
    assert flip_images(pixels, torch.tensor([False]), 1).equal(pixels)
    mask = outside_mask(torch.tensor([[0, 2, 1, 3]]), pixels)[0]
    assert mask.tolist() == [[1, 0, 0], [1, 0, 0], [1, 1, 1]]
