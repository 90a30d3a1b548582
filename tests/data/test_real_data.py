"""The real data sets, where HWCLS_DATA names a folder that has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwcls.config.data import DataConfig
from hwcls.data.catalog import locate
from hwcls.data.imageset import open_data
from hwcls.data.store import open_pixel_store


@pytest.mark.parametrize(
    ("name", "classes", "channels", "first"),
    [
        ("fashion_mnist", 10, 1, "T-shirt/top"),
        pytest.param("cifar10", 10, 3, "airplane", marks=pytest.mark.slow),
        pytest.param("tinyimagenet", 200, 3, "goldfish", marks=pytest.mark.slow),
    ],
)
def test_real(
    real_data: Path, monkeypatch: pytest.MonkeyPatch, name: str, classes: int, channels: int, first: str
) -> None:
    monkeypatch.setenv("HWCLS_DATA", str(real_data))
    if locate(name) is None:
        pytest.skip(f"{name} is not in HWCLS_DATA")
    config = DataConfig(name=name)
    data = open_data(config)
    assert (len(data.classes), data.channels, data.classes[0]) == (classes, channels, first)
    counts = np.bincount(data.train.labels, minlength=classes)
    assert counts.min() == counts.max() > 0
    assert not set(data.train.rows) & set(data.val.rows)
    assert 0.2 < data.mean[0] < 0.6
    assert open_pixel_store(config).verify() == []
