"""Which size images get where a file leaves it open, and why."""

from __future__ import annotations

from typing import Any

import pytest

from hwcls.config.data import PLAIN_INPUTS, DataConfig, ExpectedInputs
from hwcls.data.decoding.image_sizes import ImageSizes
from hwcls.models.residual_cnn import ResidualCnnConfig
from hwcls.models.simple_cnn import SimpleCnnConfig
from hwcls.models.timm import TimmConfig
from hwcls.training.image_size import choose_image_size, size_data


def sizes_of(*found: tuple[int, int]) -> ImageSizes:
    sizes = ImageSizes()
    for one in found:
        sizes.add(one)
    return sizes


class Pretrained(SimpleCnnConfig):
    """A model whose weights were trained on images of some side."""

    side: int = 224

    @property
    def expects(self) -> ExpectedInputs:
        return ExpectedInputs((0.5,) * 3, (0.5,) * 3, side=self.side)


PHOTOS = sizes_of((500, 375), (375, 500), (640, 480))
FAST = "models from scratch train in reasonable time at 64"


@pytest.mark.parametrize(
    ("found", "side", "reason"),
    [
        (((500, 375), (400, 300), (640, 480)), 64, f"the images' median is 500 x 375, and {FAST}"),
        (((512, 512), (512, 512)), 64, f"all images are 512 x 512, and {FAST}"),
        (((96, 96), (96, 96)), 96, "all images are 96 x 96"),
        (((128, 128),), 128, "all images are 128 x 128"),
        (((2, 2),), 4, "all images are 2 x 2, of which 4 is about the short side"),
        (((50, 90),), 48, "the images' median is 50 x 90, of which 48 is about the short side"),
        (((2, 3),), 4, "the images' median is 2 x 3, of which 4 is about the short side"),
        ((), 64, "no image has a readable header"),
    ],
)
def test_models_from_scratch(found: Any, side: int, reason: str) -> None:
    chosen = choose_image_size(sizes_of(*found), [SimpleCnnConfig()])
    assert (chosen.side, chosen.reason) == (side, reason)
    assert choose_image_size(sizes_of(*found)) == chosen


def test_pretrained_weights_get_their_own_size() -> None:
    chosen = choose_image_size(PHOTOS, [Pretrained(), Pretrained(side=260)])
    assert str(chosen) == (
        "image_size 224: pretrained weights were trained on 224 and 260; the images' median is 500 x 375"
    )


def test_small_photos_are_not_enlarged_much() -> None:
    chosen = choose_image_size(sizes_of((64, 64)), [Pretrained()])
    assert (chosen.side, chosen.reason) == (
        128,
        "pretrained weights were trained on 224, but all images are 64 x 64: twice that at most",
    )
    assert choose_image_size(sizes_of((9, 9)), [Pretrained()]).side == 32
    assert choose_image_size(sizes_of((70, 90)), [Pretrained()]).side == 128  # a multiple of 32


def test_models_from_scratch_and_pretrained_ones_share_one_size() -> None:
    chosen = choose_image_size(PHOTOS, [SimpleCnnConfig(), Pretrained()])
    assert (chosen.side, chosen.reason) == (
        128,
        "pretrained weights were trained on 224, models from scratch are slow above 128, and all get the same;"
        " the images' median is 500 x 375",
    )
    assert choose_image_size(PHOTOS, [SimpleCnnConfig(), Pretrained(side=96)]).side == 96


def test_every_model_takes_the_size() -> None:
    deep = ResidualCnnConfig(blocks=8)  # 2 ** 6 + 1 pixels at least
    chosen = choose_image_size(PHOTOS, [SimpleCnnConfig(), deep])
    assert (chosen.side, chosen.reason) == (
        96,
        f"the next size to 64 that every model takes; the images' median is 500 x 375, and {FAST}",
    )


def test_a_backbone_gets_the_size_that_its_weights_have() -> None:
    from hwcls.models import check

    models = [TimmConfig(backbone="vit_tiny_patch16_224", pretrained=True), TimmConfig(backbone="resnet18")]
    assert [model.expects and model.expects.side for model in models] == [224, None]
    for names, side in (([0], 224), ([0, 1], 128), ([1], 64)):
        chosen = choose_image_size(PHOTOS, [models[i] for i in names])
        assert chosen.side == side
        for i in names:
            check(models[i], classes=3, channels=3, image_size=side)


def test_what_has_a_size_keeps_it() -> None:
    for data in (DataConfig(name="digits"), DataConfig(name="imagefolder", path="nowhere", image_size=40)):
        assert size_data(data) == (data.model_copy(update=PLAIN_INPUTS), None)
