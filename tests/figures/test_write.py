"""Figures as files."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from hwcls import files
from hwcls.errors import UserError
from hwcls.figures import write
from hwcls.figures.style import DOTS, WIDTHS, paper_style
from hwcls.figures.write import FIGURES, MANIFEST, find_foreign, plan_figures, write_figures
from hwcls.fonts import SHIPPED
from hwcls.results.load import load_results
from hwcls.tracking.folders import SweepFolder
from tests.results.conftest import DATA, write_confirm, write_whole


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A sweep with all that a figure can show."""
    path = tmp_path_factory.mktemp("whole")
    folder = write_whole(path, images=30, classes=3)
    best = {trial.label: trial.number for trial in reversed(load_results(path).ranked()) if trial.label}
    for label, rate in (("cnn", 0.9), ("mlp", 0.8), ("resnet", 0.7)):
        write_confirm(folder, label, rate, trial=best[label], seeds=3, images=60)
    return load_results(path)


@pytest.mark.parametrize("width", WIDTHS)
def test_each_figure_is_as_wide_as_its_columns_and_shows_something(whole, tmp_path, width):
    planned, left_out = plan_figures(whole, [], tmp_path, "png")
    write_figures(whole, planned, width)
    assert [one.name for one in planned] == list(FIGURES)
    assert left_out == {}
    for one in planned:
        with Image.open(one.path) as image:
            pixels = np.asarray(image.convert("RGB"))
        assert pixels.shape[1] == round(WIDTHS[width] * DOTS), one.name
        assert pixels.shape[0] < 9 * DOTS
        inked = (pixels != 255).any(2)
        assert 0.005 < inked.mean() < 0.6, one.name
        edges = [inked[0], inked[-1], inked[:, 0], inked[:, -1]]
        assert not any(edge.any() for edge in edges), f"{one.name} is cut"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", FIGURES)
def test_no_text_overlaps_another_or_leaves_the_figure(whole, tmp_path, monkeypatch, width, name):
    ((one,), _) = plan_figures(whole, [name], tmp_path, "svg")
    drawn: dict[Text, Bbox] = {}
    draw = Text.draw

    def recording(text, renderer, *more):
        if text.get_visible() and text.get_text().strip():
            drawn[text] = text.get_window_extent(renderer)
        return draw(text, renderer, *more)

    monkeypatch.setattr(Text, "draw", recording)
    with paper_style():
        figure = one.figure.draw(width)
        figure.draw_without_rendering()
    assert len(drawn) > 3
    for text, box in drawn.items():
        assert box.x0 >= -1, f"{text} is cut"
        assert box.y0 >= -1, f"{text} is cut"
        assert box.x1 <= figure.bbox.width + 1, f"{text} is cut"
        assert box.y1 <= figure.bbox.height + 1, f"{text} is cut"
    for (text, box), (other, its) in combinations(drawn.items(), 2):
        apart = box.x1 <= its.x0 + 1 or its.x1 <= box.x0 + 1 or box.y1 <= its.y0 + 1 or its.y1 <= box.y0 + 1
        assert apart, f"{text} and {other}"


@pytest.mark.parametrize("format", write.FORMATS)
def test_the_same_results_give_the_same_bytes_without_a_date(whole, tmp_path, format):
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        planned, _ = plan_figures(whole, ["test", "confusion"], folder, format)
        write_figures(whole, planned, "one")
        contents.append([one.path.read_bytes() for one in planned] + [(folder / MANIFEST).read_bytes()])
    assert contents[0] == contents[1]
    assert not any(b"CreationDate" in content or b"dc:date" in content for content in contents[0])


def test_fonts_are_in_the_file(whole, tmp_path):
    for format in ("pdf", "svg"):
        write_figures(whole, plan_figures(whole, ["test"], tmp_path, format)[0], "one")
    pdf = (tmp_path / "test.pdf").read_bytes()
    assert b"/FontFile2" in pdf  # TrueType
    assert b"/Type3" not in pdf
    assert b"DejaVuSans" in pdf
    assert b"<text" not in (tmp_path / "test.svg").read_bytes()  # paths


def test_names_of_classes_are_no_formulas_and_need_no_font(tmp_path, results):
    results.overtaken(tmp_path)
    files.write_json(tmp_path / "data.json", DATA | {"classes": ["$x^", "\U000130d8 & <b>", "猫"]})
    sweep = load_results(tmp_path)
    write_figures(sweep, plan_figures(sweep, ["confusion"], tmp_path / "out", "png")[0], "one")
    assert (tmp_path / "out" / "confusion.png").stat().st_size > 1000


def test_a_font_of_the_system_draws_what_dejavu_sans_lacks(tmp_path, results, monkeypatch):
    import matplotlib

    other = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "STIXGeneral.ttf")
    monkeypatch.setattr("hwcls.fonts._font_with", lambda letter: other if letter == "\u1d81" else SHIPPED)
    results.overtaken(tmp_path)
    files.write_json(tmp_path / "data.json", DATA | {"classes": ["a", "\u1d81", "c"]})
    sweep = load_results(tmp_path)
    write_figures(sweep, plan_figures(sweep, ["confusion"], tmp_path, "pdf")[0], "one")
    assert b"STIXGeneral" in (tmp_path / "confusion.pdf").read_bytes()


def test_what_the_results_lack_is_left_out_with_the_reason(tmp_path, results):
    results.full(tmp_path)
    planned, left_out = plan_figures(load_results(tmp_path), [], tmp_path, "svg")
    assert [one.name for one in planned] == ["curves", "slices", "budget"]
    assert left_out["test"] == left_out["confusion"] == "no confirm run has been scored on test"
    assert left_out["importance"].startswith("4 trials with a value are too few")


def test_nothing_at_all_is_one_line(tmp_path, results):
    sweep: SweepFolder = results.sweep(tmp_path)
    results.trial(sweep.trial(0), [], status=None)
    with pytest.raises(UserError, match=r"has nothing for a figure .*test, confusion: no confirm run") as caught:
        plan_figures(load_results(tmp_path), [], tmp_path, "svg")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_an_unknown_name_has_the_nearest(whole, tmp_path):
    with pytest.raises(UserError, match="unknown name 'curve' — did you mean 'curves'"):
        plan_figures(whole, ["curve"], tmp_path, "svg")


def test_what_hwcls_wrote_may_be_replaced_and_nothing_else(whole, tmp_path):
    planned, _ = plan_figures(whole, ["test", "curves"], tmp_path, "svg")
    assert find_foreign(whole, planned, tmp_path) == []
    write_figures(whole, planned, "one")
    assert find_foreign(whole, planned, tmp_path) == []
    assert find_foreign(replace(whole, name="another"), planned, tmp_path) == [one.path for one in planned]
    planned[1].path.write_text("edited in Inkscape")
    assert find_foreign(whole, planned, tmp_path) == [tmp_path / "curves.svg"]
    other = tmp_path / "other"
    other.mkdir()
    (other / MANIFEST).write_text('{"mine": 1}')
    assert find_foreign(whole, plan_figures(whole, ["test"], other, "svg")[0], other) == [other / MANIFEST]


def test_the_list_of_files_has_captions_and_keeps_other_formats(whole, tmp_path):
    for format in ("svg", "png"):
        write_figures(whole, plan_figures(whole, ["test"], tmp_path, format)[0], "two")
    listed = json.loads((tmp_path / MANIFEST).read_text("utf-8"))
    assert list(listed) == ["test.png", "test.svg"]
    assert listed["test.svg"]["caption"].startswith("Test accuracy of the confirmed models over 3 seeds each")
    assert listed["test.svg"]["width"] == "two"


def test_a_failed_write_leaves_the_old_file_and_no_part(whole, tmp_path, monkeypatch):
    planned, _ = plan_figures(whole, ["test"], tmp_path, "svg")
    write_figures(whole, planned, "one")
    before = planned[0].path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hwcls.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_figures(whole, planned, "two")
    assert planned[0].path.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [MANIFEST, "test.svg"]
