"""Pictures that explain predictions."""

from pathlib import Path

import numpy as np
from PIL import Image

from hwcls.inspection.explanations import (
    GAP,
    SHOWN,
    SIDE,
    choose_paths,
    draw_explanation,
    draw_overview,
    explain_batches,
    paint_heat,
)
from hwcls.inspection.predictions import PredictedBatch, Prediction

CAT = Prediction("a/cat.png", (("cat", 0.75),))


class Half:
    """Heat maps that are 1 in the left half."""

    method = "Half"

    def compute(self, pixels, classes):
        heat = np.zeros(pixels.shape[:3], np.float32)
        heat[:, :, : pixels.shape[2] // 2] = 1
        return heat


def test_names_are_safe_and_differ():
    names = ["a/x.jpg", "b/x.png", "b/X.jpg", "explain.png", "http://h/p/é 1.jpg?w=2/3", "p.zip/../..", "http://h/"]
    found = [str(path) for path in choose_paths(names, Path("out"))]
    assert found == [
        "out/x.png",
        "out/x-2.png",
        "out/X-3.png",
        "out/explain-2.png",
        "out/é 1.png",
        "out/image.png",
        "out/h.png",
    ]
    assert len({name.casefold() for name in found}) == len(names)
    assert all(len(path.name.encode()) < 230 for path in choose_paths(["\u732b" * 80, "\U00020000" * 80], Path()))


def test_the_heat_is_painted_on_the_grey_image():
    colours = np.full((2, 4, 3), (200, 100, 0), np.uint8)
    heat = np.array([[0, 0.5, 1, 0], [0, 0, 0, 0]], np.float32)
    found = paint_heat(colours, heat)
    grey = [118, 118, 118]
    assert found[0, 0].tolist() == found[1, 2].tolist() == grey
    red, green, blue = found[0, 2].astype(int)
    assert red > green + 100 > blue
    assert found[0, 1].astype(int)[1] > green, "orange below red"


def test_the_image_stands_beside_its_heat():
    pixels = np.zeros((8, 8, 1), np.uint8)
    picture = draw_explanation(pixels, Half().compute(pixels[None], None)[0], CAT, "Half")
    draw_explanation(pixels, Half().compute(pixels[None], None)[0], Prediction("a\nb\udcff", (("c\nd", 1.0),)), "Half")
    middle = GAP + SIDE // 2
    assert picture.getpixel((GAP + 9, middle)) == picture.getpixel((GAP + SIDE - 9, middle)) == (0, 0, 0)
    warm, cold = (picture.getpixel((GAP + SIDE + GAP + x, middle)) for x in (9, SIDE - 9))
    assert warm[0] > 150
    assert cold == (0, 0, 0)
    none = draw_explanation(pixels, np.zeros((8, 8), np.float32), CAT, "Half")
    assert np.asarray(none)[SIDE + GAP :].tobytes() != np.asarray(picture)[SIDE + GAP :].tobytes(), "it says so"


def test_each_prediction_gets_its_picture(tmp_path):
    bad = Prediction("bad.png", error="is empty")
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    batches = [
        PredictedBatch([bad, CAT, CAT], np.stack([black, white]), np.eye(2)[[0, 0]]),
        PredictedBatch([bad], np.empty((0, 8, 8, 3), np.uint8), np.empty((0, 2))),
    ]
    paths = [tmp_path / name for name in ("0.png", "1.png", "2.png", "3.png")]
    found = list(explain_batches(batches, Half(), paths))
    assert [one.explanation for one in found] == [None, str(paths[1]), str(paths[2]), None]
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["1.png", "2.png"]
    for path, colour in zip(paths[1:], ((0, 0, 0), (255, 255, 255)), strict=False):
        with Image.open(path) as picture:
            assert picture.getpixel((GAP + 9, GAP + 9)) == colour


def test_the_overview_has_the_first_pictures(tmp_path):
    paths = []
    for number in range(SHOWN + 2):
        paths.append(tmp_path / f"{number}.png")
        Image.new("RGB", (20, 10), (number, 0, 0)).save(paths[-1])
    with Image.open(draw_overview(paths, tmp_path / "out")) as sheet:
        assert sheet.size == (60, 80)
        assert [sheet.getpixel((20 * (n % 3), 10 * (n // 3)))[0] for n in range(SHOWN)] == list(range(SHOWN))
    with Image.open(draw_overview(paths[:1], tmp_path / "one")) as sheet:
        assert sheet.size == (20, 10)
