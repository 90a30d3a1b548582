"""What becomes cheaper, in which order, before half of the images are left out."""

import pytest

from hwcls.init.economy import list_economies, next_economy

STEPS = list_economies(64, 8, pretrained=False)


def test_pixels_go_first_then_epochs_then_width():
    assert [(step.side, step.epochs, step.narrow) for step in STEPS] == [
        (64, 8, False),
        (48, 8, False),
        (32, 8, False),
        (32, 5, False),
        (32, 5, True),
    ]
    assert [step.cost for step in STEPS] == pytest.approx([1, 0.5625, 0.25, 0.15625, 0.078125])


@pytest.mark.parametrize(
    ("side", "pretrained", "sides"),
    [(28, False, [28]), (32, False, [32]), (96, False, [96, 64, 48, 32]), (128, True, [128, 96, 64])],
)
def test_images_stay_large_enough(side, pretrained, sides):
    assert list(dict.fromkeys(step.side for step in list_economies(side, 8, pretrained=pretrained))) == sides


def test_epochs_that_are_few_stay():
    assert [step.epochs for step in list_economies(32, 4, pretrained=False)] == [4, 4]


@pytest.mark.parametrize(
    ("at", "share", "needed", "then"),
    [
        (0, 0.5, 0.5, None),
        (0, 0.4, 0.5, 1),
        (0, 0.25, 0.5, 2),
        (0, 0.1, 0.5, 3),
        (0, 0.01, 0.5, 4),
        (1, 0.4, 0.5, 2),
        (0, 0.6, 1.0, 1),
        (4, 0.1, 0.5, None),
    ],
)
def test_the_first_step_is_taken_that_leaves_enough_images(at, share, needed, then):
    assert next_economy(STEPS, STEPS[at], share, needed) == (None if then is None else STEPS[then])
