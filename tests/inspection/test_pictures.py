"""Pictures of what was recorded: which pixels stand where."""

import numpy as np
import pytest
from PIL import Image

from hwcls.inspection.pictures import (
    COLUMNS,
    GAP,
    LABELS,
    SIDE,
    TITLE,
    draw_activations,
    draw_confusion,
    draw_reconstructions,
    write_png,
)


def tile(path, row, column):
    """The middle pixel of a tile, and the number of rows of tiles."""
    with Image.open(path) as picture:
        middle = (GAP + column * (SIDE + GAP) + SIDE // 2 + 1, TITLE + row * (SIDE + GAP) + SIDE // 2 + 1)
        return picture.getpixel(middle), (picture.height - TITLE) // (SIDE + GAP)


def test_activations(tmp_path):
    image = np.full((8, 8, 1), 40, np.uint8)
    maps = np.zeros((COLUMNS, 4, 4), np.float16)
    maps[0], maps[1], maps[-1] = 2, -2, 1
    write_png(draw_activations(image, maps), tmp_path / "a.png")
    found = [tile(tmp_path / "a.png", 0, column)[0] for column in range(4)]
    assert found == [(40, 40, 40), (255, 0, 0), (0, 0, 255), (255, 255, 255)]
    assert tile(tmp_path / "a.png", 1, 0) == ((255, 128, 128), 2)


def test_activations_of_a_linear_layer_are_one_square(tmp_path):
    maps = np.zeros((10, 1, 1), np.float16)  # a square of 4: the sixth value stands in its second line, second place
    maps[5:] = 1
    write_png(draw_activations(np.zeros((8, 8, 3), np.uint8), maps), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        square = np.asarray(picture)[TITLE : TITLE + SIDE, 2 * GAP + SIDE : 2 * (GAP + SIDE)]
    red = (square[SIDE // 8 :: SIDE // 4, SIDE // 8 :: SIDE // 4] == (255, 0, 0)).all(-1)
    assert red.ravel().tolist() == [5 <= place < 10 for place in range(16)]


def test_reconstructions(tmp_path):
    inputs = np.arange(10, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2) * 10
    write_png(draw_reconstructions(inputs, inputs + 5), tmp_path / "r.png")
    for place in range(10):
        above, below = (tile(tmp_path / "r.png", 2 * (place // COLUMNS) + part, place % COLUMNS) for part in (0, 1))
        assert above == ((10 * place,) * 3, 4)
        assert below[0] == (10 * place + 5,) * 3


@pytest.mark.parametrize(("classes", "margin"), [(4, LABELS), (64, 0)])
def test_confusion(classes, margin):
    matrix = np.eye(classes, dtype=int)
    matrix[1] = 0
    matrix[1, 3] = 5  # all of the second class are taken for the fourth
    matrix[2, 0] = 1  # half of the third for the first
    sheet, cell = draw_confusion(matrix, [f"class {label}" for label in range(classes)]), 640 // classes

    def shade(true, guess):
        return sheet.getpixel((GAP + margin + guess * cell + cell // 2, TITLE + margin + true * cell + cell // 2))

    assert shade(0, 0) == shade(1, 3) != shade(2, 0) == shade(2, 2)
    assert shade(1, 1) == shade(0, 3) == (255, 255, 255)
