"""The picture of a data set."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from hwcls.config.data import AugmentConfig, DataConfig
from hwcls.data.image_grid import GAP, LABEL, MARGIN, write_image_grid

SIDE = 64 + MARGIN


def test_grid_shows_plain_and_augmented(make: SimpleNamespace, tmp_path: Path) -> None:
    data = make.made_set(count=48, side=64)
    config = DataConfig(name="made", batch_size=16, augment=AugmentConfig(vflip=True))
    write_image_grid(data, config, tmp_path / "grid.png", columns=3)
    sheet = np.asarray(Image.open(tmp_path / "grid.png"))
    assert sheet.shape == (LABEL + 4 * (64 + LABEL), 2 * 3 * SIDE + GAP, 3)
    flipped = 0
    for line in range(4):
        for column, index in enumerate(np.flatnonzero(data.train.labels == line)[:3]):
            top, left = LABEL + line * (64 + LABEL) + LABEL, column * SIDE
            image = data.train.images[data.train.rows[index]]
            assert np.array_equal(sheet[top : top + 64, left : left + 64], image)
            left += 3 * SIDE + GAP
            right = sheet[top : top + 64, left : left + 64]
            flipped += np.array_equal(right, image[::-1])
            assert np.array_equal(right, image) or np.array_equal(right, image[::-1])
    assert 0 < flipped < 12


@pytest.mark.parametrize(("split", "augmented"), [("test", True), ("train", False)])
def test_other_splits_and_plain_have_one_half(
    make: SimpleNamespace, tmp_path: Path, split: str, augmented: bool
) -> None:
    data = make.made_set(count=48, side=16, channels=1)
    config = DataConfig(name="made", augment=AugmentConfig(mixup=1.0))
    write_image_grid(data, config, tmp_path / "grid.png", split=split, augmented=augmented, columns=2, rows=3)
    sheet = np.asarray(Image.open(tmp_path / "grid.png"))
    assert sheet.shape == (LABEL + 3 * (64 + LABEL), 2 * SIDE, 3)
    part = getattr(data, split)
    first = part.images[part.rows[np.flatnonzero(part.labels == 0)[0]]]
    assert np.array_equal(sheet[2 * LABEL : 2 * LABEL + 64 : 4, :64:4], first.repeat(3, 2))


def test_a_long_class_name_stays_in_its_half(make: SimpleNamespace, tmp_path: Path) -> None:
    data = make.made_set(count=48, side=64)
    object.__setattr__(data, "classes", ("W" * 200, *data.classes[1:]))
    write_image_grid(data, DataConfig(name="made"), tmp_path / "grid.png", columns=2)
    sheet = np.asarray(Image.open(tmp_path / "grid.png"))
    assert (sheet[LABEL : 2 * LABEL, 2 * SIDE :] == 255).all()
    assert (sheet[LABEL : 2 * LABEL, : 2 * SIDE] < 255).any()
