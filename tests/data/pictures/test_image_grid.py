"""The picture of a data set."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from hwcls.config.data import AugmentConfig, DataConfig
from hwcls.data.pictures.image_grid import GAP, LABEL, MARGIN, Shown, write_image_grid
from hwcls.data.pictures.overview import BARS, HEIGHT, NARROWEST, describe_balance, describe_sizes, draw_overview

SIDE = 64 + MARGIN


def test_grid_shows_plain_and_augmented(make: SimpleNamespace, tmp_path: Path) -> None:
    data = make.made_set(count=48, side=64)
    config = DataConfig(name="made", batch_size=16, augment=AugmentConfig(vflip=True))
    write_image_grid(data, config, tmp_path / "grid.png", Shown(columns=3))
    sheet = np.asarray(Image.open(tmp_path / "grid.png"))
    assert sheet.shape == (HEIGHT + LABEL + 4 * (64 + LABEL), NARROWEST, 3)
    flipped = 0
    for line in range(4):
        for column, index in enumerate(np.flatnonzero(data.train.labels == line)[:3]):
            top, left = HEIGHT + LABEL + line * (64 + LABEL) + LABEL, column * SIDE
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
    write_image_grid(data, config, tmp_path / "grid.png", Shown(split, augmented, columns=2, rows=3))
    sheet = np.asarray(Image.open(tmp_path / "grid.png"))
    assert sheet.shape == (HEIGHT + LABEL + 3 * (64 + LABEL), NARROWEST, 3)
    part = getattr(data, split)
    first = part.images[part.rows[np.flatnonzero(part.labels == 0)[0]]]
    assert np.array_equal(sheet[HEIGHT + 2 * LABEL : HEIGHT + 2 * LABEL + 64 : 4, :64:4], first.repeat(3, 2))


def test_a_long_class_name_stays_in_its_half(make: SimpleNamespace, tmp_path: Path) -> None:
    data = make.made_set(count=48, side=64)
    object.__setattr__(data, "classes", ("W" * 200, *data.classes[1:]))
    write_image_grid(data, DataConfig(name="made"), tmp_path / "grid.png", Shown(columns=2))
    sheet = np.asarray(Image.open(tmp_path / "grid.png"))[HEIGHT:]
    assert (sheet[LABEL : 2 * LABEL, 2 * SIDE :] == 255).all()
    assert (sheet[LABEL : 2 * LABEL, : 2 * SIDE] < 255).any()


def test_the_overview_is_above_the_images(make: SimpleNamespace, tmp_path: Path) -> None:
    data = make.made_set(count=48, side=16)
    write_image_grid(data, DataConfig(name="made"), tmp_path / "with.png", sides=[16, 40, 900])
    write_image_grid(data, DataConfig(name="made"), tmp_path / "without.png")
    with_sizes, without = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("with", "without"))
    assert np.array_equal(with_sizes[HEIGHT:], without[HEIGHT:])
    bars = (with_sizes[:HEIGHT] == (0x4C, 0x78, 0xA8)).all(2)
    middle = bars.shape[1] // 2
    assert bars[:, :middle].any()
    assert bars[:, middle:].any()
    assert not (without[:HEIGHT, -100:] == (0x4C, 0x78, 0xA8)).all(2).any()


def test_bars_have_the_lengths_of_the_counts() -> None:
    sheet = Image.new("RGB", (NARROWEST, HEIGHT), "white")
    draw_overview(ImageDraw.Draw(sheet), NARROWEST, ("a", "b", "c"), (5, 40, 20), (), 16)
    bars = (np.asarray(sheet) == (0x4C, 0x78, 0xA8)).all(2)
    heights = [int(bars[:, 4 + 48 * place + 20].sum()) for place in range(3)]
    assert heights == [BARS + 1, BARS // 2 + 1, round(BARS / 8) + 1]


@pytest.mark.parametrize("count", [2, 10, 200, 5000])
def test_any_number_of_classes_fits(count: int) -> None:
    sheet = Image.new("RGB", (NARROWEST, HEIGHT), "white")
    draw_overview(ImageDraw.Draw(sheet), NARROWEST, [str(i) for i in range(count)], range(1, count + 1), (9,) * 7, 64)
    pixels = np.asarray(sheet)
    assert (pixels[:, -2:] == 255).all()
    assert (pixels[:, NARROWEST // 2 - 6 : NARROWEST // 2 + 6] == 255).all()


@pytest.mark.parametrize(("sides", "drawn"), [((16, 16), False), ((16, 17), True), ((8, 8), True)])
def test_sizes_are_drawn_where_they_differ(sides: tuple[int, int], drawn: bool) -> None:
    sheet = Image.new("RGB", (NARROWEST, HEIGHT), "white")
    draw_overview(ImageDraw.Draw(sheet), NARROWEST, ("a", "b"), (1, 1), sides, 16)
    right = np.asarray(sheet)[:, NARROWEST // 2 :]
    assert (right == (0x4C, 0x78, 0xA8)).all(2).any() == drawn


def test_words() -> None:
    assert describe_balance(("a", "b"), (3, 3)) == "2 classes of 3 images"
    assert describe_balance(("a", "b", "c"), (3, 1, 2000)) == "3 classes of 1 (b) to 2,000 (c) images"
    assert describe_sizes((32, 32), 32) == "training sees 32 x 32; short sides of the files: 32 pixels"
    expected = "training sees 64 x 64; short sides of the files: 9 to 2,000 pixels, 300 at the middle"
    assert describe_sizes((9, 300, 2000), 64) == expected
