"""The picture of a data set."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from hwcls.config.data import AugmentConfig, DataConfig
from hwcls.data.show import MARGIN, picture_grid


def test_grid_shows_plain_and_augmented(make: SimpleNamespace, tmp_path: Path) -> None:
    data = make.made_set(count=48, side=64)
    config = DataConfig(name="made", batch_size=16, augment=AugmentConfig(vflip=True))
    picture_grid(data, config, tmp_path / "grid.png", columns=3)
    sheet = np.asarray(Image.open(tmp_path / "grid.png"))
    side = 64 + MARGIN
    assert sheet.shape == (4 * (side + 14), 7 * side, 3)
    first = data.train.images[data.train.rows[np.flatnonzero(data.train.labels == 0)[0]]]
    assert np.array_equal(sheet[14:78, :64], first)
    right = sheet[14:78, 4 * side : 4 * side + 64]
    assert np.array_equal(right, first) or np.array_equal(right, first[::-1])
