"""How test and val came to be, in words."""

import pytest

from hwcls.data.cuts.describe import describe_shares


@pytest.mark.parametrize(
    ("shares", "text"),
    [
        ({}, ""),
        ({"val": 0.1}, "val (10%) is cut from train"),
        ({"test": 0.2, "val": 0.125}, "test (20%) and val (12.5% of the rest) are cut from train"),
    ],
)
def test_what_is_cut_is_named_with_its_share(shares, text):
    assert describe_shares(shares) == text
