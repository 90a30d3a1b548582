"""An opened data set is normalised as its config says, and its pixels are kept by how they were resized."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hwcls.config.data import PLAIN_INPUTS, DataConfig
from hwcls.data.decoding.resize import Box, resize_pixels
from hwcls.data.decoding.resizing import Resizing
from hwcls.data.imageset import ImageSet, InputSpec, open_data
from hwcls.data.input_words import describe_decoded, describe_inputs
from hwcls.data.store import open_pixel_store, verify_command
from hwcls.errors import UserError


def opened(**given: object) -> ImageSet:
    return open_data(DataConfig.model_validate({"name": "digits", **given}))


def test_what_is_left_open_is_plain_and_has_the_stores_of_earlier_versions() -> None:
    plain = opened()
    assert (plain.interpolation, plain.crop_pct, plain.normalised_by) == ("bilinear", 1.0, "images")
    pixels = plain.train.images[plain.train.rows] / 255
    assert plain.moments == (plain.mean, plain.std)
    assert plain.mean == pytest.approx((pixels.mean(),))
    assert plain.std == pytest.approx((pixels.std(),))
    same = opened(**PLAIN_INPUTS)
    assert same.to_dict() == plain.to_dict()
    # the names that a store had before there were these keys
    names = {"digits-9ab09c704fd38a0d": {}, "digits-21a7b2d7b2b86962": {"resize": "pad", "image_size": 16}}
    for name, given in names.items():
        for more in ({}, PLAIN_INPUTS, {"mean": [0.5]}):
            assert open_pixel_store(DataConfig.model_validate({"name": "digits", **given, **more})).folder.name == name


def test_mean_and_std_that_are_given_are_used_and_kept() -> None:
    given = opened(channels=3, mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    assert (given.mean, given.std, given.normalised_by) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "given")
    assert given.moments == opened(channels=3).moments
    assert InputSpec.from_dict(given.facts()).to_dict() == given.to_dict()
    grey = opened(mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    assert (grey.mean, grey.std) == (pytest.approx((0.2,)), pytest.approx((0.5,)))
    with pytest.raises(UserError, match=r"data\.mean: mean has 1 number for images of 3 channels — give 3, one"):
        open_data(DataConfig(name="digits", channels=3).model_copy(update={"mean": (0.5,)}))


def test_each_way_to_resize_has_its_pixels() -> None:
    folders, images = set(), []
    for interpolation in ("bilinear", "bicubic"):
        for crop_pct in (1.0, 0.8):
            config = DataConfig(name="digits", image_size=12, interpolation=interpolation, crop_pct=crop_pct)
            store = open_pixel_store(config)
            folders.add(store.folder)
            images.append(np.array(store.array("test", "images")[:20]))
            assert (store.meta["interpolation"], store.meta["crop_pct"]) == (interpolation, crop_pct)
    assert len(folders) == len({one.tobytes() for one in images}) == 4
    assert verify_command(config) == (
        "hwcls data verify digits --set image_size=12 --set interpolation=bicubic --set crop_pct=0.8"
    )


def test_images_of_the_size_itself_are_cropped_as_a_file_of_them_is() -> None:
    config = DataConfig(name="digits", image_size=8, interpolation="bicubic", crop_pct=0.8)
    found, own = (open_pixel_store(one).array("test", "images")[:20] for one in (config, DataConfig(name="digits")))
    for image, file in zip(found, own, strict=True):
        assert np.array_equal(image, resize_pixels(_part_of(file), 8, 8, 8, Resizing.of(config)))
    assert not np.array_equal(found, own)


def _part_of(image: np.ndarray) -> Callable[[Box], np.ndarray]:
    return lambda box: image[box[0] : box[2], box[1] : box[3]]


def test_inputs_in_words() -> None:
    plain = opened()
    by = {"mean": [0.5, 0.25, 0.125], "std": [1, 1, 1]}
    given = opened(image_size=16, interpolation="bicubic", crop_pct=0.875, channels=3, **by)
    assert describe_inputs(plain.facts()) == "8 x 8, grey"
    words = "16 x 16, RGB, bicubic, the centre 87.5 % of each side, mean 0.5 0.25 0.125 and std 1 1 1"
    assert describe_inputs(given.facts()) == words
    assert describe_decoded([plain], [["cnn"]]) == []
    assert describe_decoded([given], [["probe"]]) == [f"digits: {words}; 345 KB decoded, enlarged when they are read"]
    assert describe_decoded([plain, given], [["cnn", "mlp"], ["probe"]]) == [
        "digits, for cnn and mlp: 8 x 8, grey; 115 KB decoded",
        f"digits, for probe: {words}; 345 KB decoded, enlarged when they are read",
    ]
    assert describe_inputs({"image_size": 8, "mean": 3, "std": ["x"], "normalised_by": "given", "crop_pct": "a"}) == (
        "8 x 8, RGB"
    )
