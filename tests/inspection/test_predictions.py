"""Predictions on files are those on the decoded data set; pictures show them."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hwcls.data.decoding.pixel_range import PixelRange
from hwcls.data.formats.image_types import summarise
from hwcls.errors import UserError
from hwcls.inspection import predictions
from hwcls.inspection.evaluate import evaluate_trial
from hwcls.inspection.export import export
from hwcls.inspection.image_sources import file_source, find_images
from hwcls.inspection.load_trained import load_trained
from hwcls.inspection.pictures import COLUMNS, GAP, RIGHT, ROWS, SIDE, TITLE, WRONG, draw_predictions, write_png
from hwcls.inspection.prediction_summary import PredictionSummary
from hwcls.inspection.predictions import decode_as_trained, predict


@pytest.fixture(scope="module")
def opened(trained):
    return load_trained(trained)


def test_files_score_as_the_split_does(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(predictions, "BATCH", 16)  # fewer than there are files
    val = opened.data.val
    for place in range(len(val)):
        Image.fromarray(np.array(val.images[val.rows[place], :, :, 0])).save(tmp_path / f"{place:03}.png")
    found = list(predict(opened, find_images([str(tmp_path)]).images, k=10))
    scores = evaluate_trial(opened, "val").scores
    assert len(found) == len(val) > 2 * predictions.BATCH, "more than are decoded ahead"
    for place, prediction in enumerate(found):
        assert Path(prediction.file).name == f"{place:03}.png"
        assert dict(prediction.top) == pytest.approx(
            {opened.data.classes[k]: scores[place, k] for k in range(10)}, abs=1e-6
        )
        probabilities = [p for _, p in prediction.top]
        assert probabilities == sorted(probabilities, reverse=True)


def test_the_data_set_need_not_be_here(trained, tmp_path, monkeypatch):
    here = load_trained(trained)
    Image.fromarray(np.array(here.data.val.images[0, :, :, 0])).save(tmp_path / "a.png")
    expected = [p.to_dict() for p in predict(here, [file_source(tmp_path / "a.png")])]

    def gone(*args):
        raise UserError("the data set is not here")

    monkeypatch.setattr("hwcls.inspection.load_trained.open_data", gone)
    opened = load_trained(trained)
    assert [p.to_dict() for p in predict(opened, [file_source(tmp_path / "a.png")])] == expected
    found = export(opened, tmp_path / "model.pt2", "torch")
    assert found["compared_on"] == "64 images of noise"
    assert found["max_difference"] < 1e-4
    with pytest.raises(UserError, match="not here"):
        evaluate_trial(opened, "val")


def test_an_unreadable_file_does_not_stop_the_others(opened, tmp_path):
    Image.new("RGBA", (40, 20), (200, 10, 10, 128)).save(tmp_path / "a.png")
    Image.new("P", (9, 31)).save(tmp_path / "b.gif")
    (tmp_path / "c.jpg").write_bytes(b"\xff\xd8 not a jpeg")
    (tmp_path / "notes.txt").write_text("no image")
    found = list(predict(opened, find_images([str(tmp_path)]).images, k=2))
    assert [(Path(p.file).name, len(p.top), p.error is None) for p in found] == [
        ("a.png", 2, True),
        ("b.gif", 2, True),
        ("c.jpg", 0, False),
    ]
    assert found[2].to_dict()["error"]
    assert decode_as_trained((tmp_path / "a.png").read_bytes(), opened.inputs).shape == (8, 8, 1)


def test_probabilities_that_are_not_numbers_are_errors(opened, tmp_path):
    class Diverged(torch.nn.Module):
        def forward(self, images):
            scores = opened.model(images)
            return torch.where(images.mean((1, 2, 3)) > 0, torch.nan, 1)[:, None] * scores

    for name, grey in (("bright.png", 255), ("dark.png", 0)):
        Image.new("L", (8, 8), grey).save(tmp_path / name)
    diverged = replace(opened, model=Diverged())
    images = find_images([str(tmp_path)]).images
    (batch,) = predictions.predict_batches(diverged, images, 3, 16)
    bright, dark = batch.predictions
    assert bright.to_dict() == {"file": str(tmp_path / "bright.png"), "error": predictions.NOT_A_NUMBER}
    assert [name for name, _ in dark.top] == [name for name, _ in next(predict(opened, images[1:])).top]
    assert batch.pixels.shape == (1, 8, 8, 1), "pictures are drawn of the others alone"
    assert batch.pixels.max() == 0
    summary = PredictionSummary(opened.inputs.classes)
    assert list(summary.count(batch.predictions)) == batch.predictions
    (line,) = summary.errors()
    assert line.endswith("are not numbers — name another trial, this one diverged")


def test_only_the_formats_of_training_are_opened(opened, tmp_path):
    for kind in ("ICO", "EPS"):
        Image.new("RGB", (32, 32)).save(tmp_path / f"{kind}.x", kind)
        (tmp_path / f"{kind}.x").rename(tmp_path / f"{kind}.png")
    Image.new("RGB", (32, 32)).save(tmp_path / "passed_over.ico")
    found = list(predict(opened, find_images([str(tmp_path)]).images))
    assert [line for line in summarise(find_images([str(tmp_path)]).left_out) if "(.ico)" in line]
    assert [(Path(p.file).name, p.error) for p in found] == [
        ("EPS.png", "of no known image format"),
        ("ICO.png", "of no known image format"),
    ]


def test_an_image_that_takes_all_memory_does_not_stop_the_others(opened, tmp_path, monkeypatch):
    def full(*args):
        raise RuntimeError("you tried to allocate 737280000000 bytes.\nframe #0: ...")

    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    monkeypatch.setattr("hwcls.inspection.predictions.decode_to_size", full)
    assert [p.error for p in predict(opened, [file_source(tmp_path / "a.png")])] == [
        "you tried to allocate 737280000000 bytes."
    ]


def test_files_of_more_than_8_bits_are_scaled_as_in_training(opened, tmp_path):
    digit = np.array(opened.data.val.images[0, :, :, 0])
    Image.fromarray(digit).save(tmp_path / "a.png")
    Image.fromarray(digit.astype(np.uint16) * 16 + 7).save(tmp_path / "b.png")
    ranged = replace(opened, inputs=replace(opened.inputs, pixel_range=PixelRange(7, 255 * 16 + 7)))
    both = [file_source(tmp_path / name) for name in ("a.png", "b.png")]
    eight, twelve = predict(ranged, both)
    assert twelve.top == eight.top
    assert not twelve.full_range
    assert [one.full_range for one in predict(opened, both)] == [False, True]
    with pytest.raises(UserError, match="pixels 7 to 4087 became 0 to 255; in digits it is now 0 to 65535 — train it"):
        _ = ranged.data


def test_all_unreadable(opened, tmp_path):
    (tmp_path / "c.jpg").write_bytes(b"")
    assert [p.error is None for p in predict(opened, [file_source(tmp_path / "c.jpg")])] == [False]


def test_paths_that_hold_nothing(tmp_path):
    with pytest.raises(UserError, match="no image in this folder"):
        find_images([str(tmp_path)])
    with pytest.raises(UserError, match="no such file or folder"):
        find_images([str(tmp_path / "none.png")])
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match=r"pipe\.png: is a pipe, a device or a socket — name a regular file"):
        find_images([str(tmp_path / "pipe.png")])
    (tmp_path / "link.png").symlink_to(tmp_path / "none.png")
    with pytest.raises(UserError, match=r"link\.png: is a link to nothing"):
        find_images([str(tmp_path / "link.png")])


def test_files_that_are_not_read_are_counted_by_kind(opened, tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    for name in ("b.JXL", "c.jxl", "._a.png", "Thumbs.db", "d.dcm"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "e.png").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "f.png")
    found = find_images([str(tmp_path)])
    assert [image.name for image in found.images] == [str(tmp_path / "a.png")]
    assert summarise(found.left_out) == [
        f"left out: JPEG XL images (2), such as {tmp_path}/b.JXL — convert them to PNG or JPEG",
        f"left out: DICOM files (1), such as {tmp_path}/d.dcm — convert them to PNG with 16 bits",
        f"left out: links to nothing (1), such as {tmp_path}/e.png — restore what they point to, or remove them",
        f"left out: pipes, sockets or devices (1), such as {tmp_path}/f.png — save the images as files",
    ]
    (tmp_path / "a.png").unlink()
    with pytest.raises(UserError, match=r"no image in this folder, but left out: JPEG XL images \(2\)"):
        find_images([str(tmp_path)])


def test_the_grid_frames_right_and_wrong(opened, tmp_path):
    scored = evaluate_trial(opened, "val")
    grid = draw_predictions(opened.data, opened.data.val, scored.labels, scored.scores, "cnn")
    write_png(grid, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as sheet:
        colours = [
            sheet.getpixel((GAP + column * (SIDE + GAP) - 2, TITLE + row * (SIDE + 34 + GAP)))
            for row in range(ROWS)
            for column in range(COLUMNS)
        ]
    right, wrong = (tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for colour in (RIGHT, WRONG))
    assert set(colours) <= {right, wrong}
    from hwcls.data.splits import random_permutation

    shown = random_permutation(len(scored.labels), 0, 0)[: COLUMNS * ROWS]
    hits = scored.scores.argmax(1)[shown] == scored.labels[shown]
    assert [colour == right for colour in colours] == hits.tolist()
