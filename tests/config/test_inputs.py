"""How images become inputs: what a file leaves open is what the weights expect, and wrong values have a remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hwcls.config.data import PLAIN_INPUTS, DataConfig, ExpectedInputs, complete_inputs
from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError

MEAN, STD = (0.5, 0.25, 0.75), (0.1, 0.2, 0.3)
CENTRE = ExpectedInputs(MEAN, STD, "bicubic", 0.875, side=224)
SQUASH = ExpectedInputs(MEAN, STD, "bicubic", 0.9, "squash")
KEYS = ("resize", *PLAIN_INPUTS)


def completed(expected: ExpectedInputs | None, **given: Any) -> tuple[Any, ...]:
    data = complete_inputs(DataConfig(name="digits", **given), expected)
    assert complete_inputs(data, None) == complete_inputs(data, SQUASH) == data  # nothing is open any more
    return tuple(getattr(data, key) for key in KEYS)


def test_models_from_scratch_have_what_they_always_had() -> None:
    assert completed(None) == ("crop", "bilinear", 1.0, "images", "images")
    assert completed(None, mean=[0.5]) == ("crop", "bilinear", 1.0, (0.5,), "images")


def test_weights_get_what_they_expect() -> None:
    assert completed(CENTRE) == ("crop", "bicubic", 0.875, MEAN, STD)
    assert completed(SQUASH) == ("squash", "bicubic", 0.9, MEAN, STD)
    assert completed(CENTRE, mean="images", crop_pct=1) == ("crop", "bicubic", 1.0, "images", STD)


def test_a_way_to_resize_that_the_file_names_keeps_all_of_the_image() -> None:
    assert completed(CENTRE, resize="pad") == ("pad", "bicubic", 1.0, MEAN, STD)
    assert completed(SQUASH, resize="crop") == ("crop", "bicubic", 1.0, MEAN, STD)
    assert completed(SQUASH, resize="squash") == ("squash", "bicubic", 0.9, MEAN, STD)


def test_grey_images_get_the_average_of_the_colours() -> None:
    data = complete_inputs(DataConfig(name="digits", channels=1), CENTRE)
    assert (data.mean, data.std) == (pytest.approx((0.5,)), pytest.approx((0.2,)))
    grey = ExpectedInputs((0.3,), (0.4,))
    assert completed(grey, channels=3)[3:] == ((0.3,) * 3, (0.4,) * 3)


WRONG = {
    "interpolation: lanczos": "interpolation: 'lanczos' is not a valid value here — known: bilinear, bicubic",
    "interpolation: bicubbic": "did you mean 'bicubic'?",
    "crop_pct: 1.5": "crop_pct: 1.5: input should be less than or equal to 1",
    "crop_pct: 0": "crop_pct: 0: input should be greater than or equal to 0.1",
    "mean: 0.5": "mean: mean 0.5 is no list of numbers — write [0.5, 0.5, 0.5], or images",
    "mean: image": "mean: mean 'image' is no list of numbers — write [0.5, 0.5, 0.5], or images",
    "mean: [0.5, 0.5]": "mean: mean has 2 numbers — give 3 or 1, one for each channel",
    "{channels: 3, std: [0.5]}": "std: std has 1 numbers — give 3, one for each channel",
    "{channels: 1, std: [0.5, 0.5]}": "std: std has 2 numbers — give 3 or 1, one",
    "std: [0.2, 0, 0.2]": "std: std 0 is not more than 0 and 1 at most, as pixels are from 0 to 1 — leave std out for",
    "mean: [123.7, 116.3, 103.5]": "mean: mean 123.7 is not 0 or more and 1 at most, as pixels are from 0 to 1 —",
    "mean: [.nan, 0.5, 0.5]": ".nan is not a finite number — write a finite one",
    "normalize: true": "it is data.mean and data.std",
}


@pytest.mark.parametrize(("entry", "message"), WRONG.items(), ids=WRONG)
def test_a_wrong_value_has_a_place_and_a_remedy(entry: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    entries = entry.strip("{}").split(", ", 1) if entry.startswith("{") else [entry]
    data = "".join(f"    {one}\n" for one in ["name: digits", *entries])
    rest = "  model: {name: mlp}\n  optimizer: {name: adam}\n"
    path.write_text(f"name: s\nrun_cap: 1\nparameters:\n  data:\n{data}{rest}")
    with pytest.raises(UserError) as raised:
        load_sweep(path)
    text = str(raised.value)
    assert message in text
    assert text.startswith(f"{path}:{5 + len(entries)}: parameters.data.")
    assert "\n" not in text
