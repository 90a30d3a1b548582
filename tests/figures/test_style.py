"""The style of figures."""

from __future__ import annotations

import sys

import pytest

from hwcls.errors import UserError
from hwcls.figures.style import (
    COLOURS,
    STYLE,
    WIDTHS,
    add_legend,
    assign_looks,
    label_shared_axis,
    new_figure,
    paper_style,
    short_name,
)
from hwcls.results.load import load_results
from hwcls.tracking.folders import SweepFolder


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"matplotlib is not installed — pip install 'hwcls\[figures\]'"):
        paper_style().__enter__()


def test_no_setting_of_the_user_changes_it_and_it_changes_none_of_theirs():
    import matplotlib

    with matplotlib.rc_context({"lines.linewidth": 9, "axes.facecolor": "red"}):
        with paper_style():
            assert matplotlib.rcParams["axes.facecolor"] == "white"
            assert matplotlib.rcParams["lines.linewidth"] == STYLE["lines.linewidth"]
            assert matplotlib.rcParams["pdf.fonttype"] == 42
        assert matplotlib.rcParams["lines.linewidth"] == 9


def test_no_two_alternatives_look_alike(tmp_path, results):
    folder: SweepFolder = results.sweep(tmp_path)
    for number in range(20):
        results.trial(folder.trial(number), [0.5], label=f"model{number:02}")
    looks = assign_looks(load_results(tmp_path))
    assert len({tuple(look.values()) for look in looks.values()}) == 20
    assert [looks[f"model{place:02}"]["color"] for place in (0, 7)] == [COLOURS[0]] * 2
    assert looks["model00"]["linestyle"] != looks["model07"]["linestyle"]


def test_a_long_name_is_shortened_and_harmless():
    assert short_name("resnet50_pretrained_imagenet21k") == "resnet50_pretrained_i…"
    assert short_name("a\x1b[31m") == r"a\x1b[31m"
    assert short_name("cnn") == "cnn"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", [1, 2, 9, 20])
def test_a_legend_is_within_the_figure_and_leaves_the_axes_their_height(width, count):
    names = [f"efficientnet_b{place}_with_a_long_name" for place in range(count)]
    with paper_style():
        figure = new_figure(width, 2.0, names)
        axes = figure.subplots()
        add_legend(figure, [axes.plot([0, 1], [place, place])[0] for place in range(count)], names)
        figure.draw_without_rendering()
        assert axes.get_window_extent().height / figure.dpi > 1.4
        assert figure.get_figwidth() == WIDTHS[width]
        for legend in figure.legends:
            box = legend.get_window_extent()
            assert box.x0 >= 0
            assert box.x1 <= figure.bbox.width
            assert box.y1 <= figure.bbox.height
        assert len(figure.legends) == (count > 1)


@pytest.mark.parametrize("title", ["validation accuracy (%)", "best validation balanced accuracy (%)"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_name_of_a_shared_axis_is_within_a_figure_of_one_row(width, title):
    with paper_style():
        figure = new_figure(width, 1.65)
        figure.subplots(1, 2, sharey=True)
        label_shared_axis(figure, title)
        figure.draw_without_rendering()
        (label,) = [text for text in figure.texts if text.get_text().replace("\n", " ") == title]
        box = label.get_window_extent()
        assert 0 <= box.y0 < box.y1 <= figure.bbox.height
        assert box.x0 >= 0
