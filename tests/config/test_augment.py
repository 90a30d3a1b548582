"""The settings of an augmentation and their bounds."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hwcls.config.data import AugmentConfig


def test_no_augmentation_is_the_default() -> None:
    assert not any(AugmentConfig().model_dump().values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("brightness", -0.1),
        ("contrast", -1),
        ("saturation", float("nan")),
        ("hue", 0.6),
        ("cutout", -1),
        ("cutout", 2.5),
        ("trivial", "yes"),
        ("erase", 1.1),
        ("rotate", 181),
        ("scale", 1.0),
        ("brightnes", 0.1),
    ],
)
def test_values_out_of_range_are_rejected(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        AugmentConfig.model_validate({name: value})
