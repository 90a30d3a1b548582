"""Views: the plain image first, then what the training did, the same for every image and on every call."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hwcls.config.data import AugmentConfig
from hwcls.data.augment.apply import Normalise
from hwcls.errors import UserError
from hwcls.inspection.evaluate import evaluate_trial
from hwcls.inspection.load_trained import load_trained
from hwcls.inspection.views import PLAIN, plan_views

NORMALISE = Normalise((0.5,), (0.25,), 8, torch.device("cpu"), torch.float32)
PIXELS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8))
CROP = AugmentConfig(crop=2)


def shown(augment, count):
    return [view.clone() for view in plan_views(augment, 8, count).images(PIXELS, NORMALISE)]


def test_mirrored_views():
    plain = NORMALISE(PIXELS).permute(0, 3, 1, 2)
    views = shown(AugmentConfig(hflip=True), 2)
    assert torch.equal(views[0], plain)
    assert torch.equal(views[1], plain.flip(3))
    both = shown(AugmentConfig(hflip=True, vflip=True, erase=1.0, mixup=0.2), 9)
    assert len(both) == 4, "there are no more that differ"
    for view, axes in zip(both, ([], [3], [2], [2, 3]), strict=True):
        assert torch.equal(view, plain.flip(axes))


def test_other_views_do_not_depend_on_the_batch():
    augment = AugmentConfig(hflip=True, crop=2, rotate=20, brightness=0.4, cutout=4)
    views = shown(augment, 4)
    again = shown(augment, 6)
    assert len(again) == 6
    assert all(torch.equal(one, other) for one, other in zip(views, again, strict=False))
    single = [view[3:4] for view in views]
    alone = list(plan_views(augment, 8, 4).images(PIXELS[3:4], NORMALISE))
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(single, alone, strict=True))
    assert not torch.equal(views[1], views[2])


def test_a_shift_is_one_of_the_training_s():
    padded = torch.nn.functional.pad(PIXELS.permute(0, 3, 1, 2).float(), [2] * 4)
    windows = [padded[:, :, y : y + 8, x : x + 8] for y in range(5) for x in range(5)]
    normal = [NORMALISE(window.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) for window in windows]
    for view in shown(CROP, 5):
        assert any(torch.equal(view, window) for window in normal)


def test_without_augmentation_there_is_one_view():
    assert plan_views(AugmentConfig(), 8, 1) is PLAIN
    with pytest.raises(UserError, match=r"--views: more views would change nothing.*hflip: true"):
        plan_views(AugmentConfig(erase=0.5, cutmix=1.0), 8, 4)


def test_scores_are_the_mean_over_the_views(trained):
    opened = load_trained(trained)
    moved = replace(opened, shown=plan_views(CROP, 8, 3))
    assert moved.views == 3
    scored = evaluate_trial(moved, "val")
    pixels = opened.data.val.images[opened.data.val.rows]
    normalise = Normalise(opened.inputs.mean, opened.inputs.std, 8, opened.device, torch.float32)
    with torch.no_grad():
        parts = [
            opened.model(view).softmax(1) for view in moved.shown.images(torch.from_numpy(np.array(pixels)), normalise)
        ]
    assert np.allclose(scored.scores, torch.stack(parts).mean(0).numpy(), atol=1e-6)
    assert scored.values["val/accuracy"] == (scored.scores.argmax(1) == scored.labels).mean()
    assert np.array_equal(evaluate_trial(moved, "val").scores, scored.scores)
    plain = evaluate_trial(opened, "val")
    assert not np.allclose(plain.scores, scored.scores, atol=1e-3)
