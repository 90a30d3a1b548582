"""The confusion of the best confirmed model."""

from __future__ import annotations

import numpy as np
import pytest

from hwcls import files
from hwcls.figures.confusion import Confusion, collect_confusion
from hwcls.figures.drawable import NothingToShow
from hwcls.figures.style import paper_style
from hwcls.results.load import load_results
from tests.results.conftest import DATA


def test_it_is_that_of_the_best_on_test_over_its_seeds_in_the_order_of_the_data(tmp_path, results):
    results.overtaken(tmp_path)
    files.write_json(tmp_path / "data.json", DATA | {"classes": ["zebra", "ant", "cat"]})
    found = collect_confusion(load_results(tmp_path))
    assert (found.name, found.classes, found.seeds) == ("cnn", ("zebra", "ant", "cat"), 5)
    assert found.counts.sum(1).tolist() == [5 * 134, 5 * 133, 5 * 133]
    assert found.shares.sum(1) == pytest.approx([1, 1, 1])
    assert np.all(np.diag(found.shares) > 0.9)
    assert found.caption.startswith("Confusion of cnn on 400 test images, over 5 seeds:")


def test_a_damaged_run_is_left_out(tmp_path, results):
    sweep = results.overtaken(tmp_path)
    (sweep.confirm_run("cnn", 10_001_000).path / "test_predictions.npz").unlink()
    assert collect_confusion(load_results(tmp_path)).seeds == 4


def test_nothing_without_predictions(tmp_path, results):
    results.overtaken(tmp_path)
    for path in tmp_path.glob("confirm/*/*/test_predictions.npz"):
        path.unlink()
    with pytest.raises(NothingToShow, match="no predictions on test"):
        collect_confusion(load_results(tmp_path))


@pytest.mark.parametrize(("classes", "one", "two"), [(3, 1, 1), (100, 6, 3), (200, 12, 6)])
def test_names_of_many_classes_are_thinned_and_that_is_said(classes, one, two):
    found = Confusion("cnn", tuple(f"class {place}" for place in range(classes)), np.eye(classes, dtype=int), 1)
    assert (found.name_every("one"), found.name_every("two")) == (one, two)
    with paper_style():
        axes = found.draw("one").axes[0]
    assert axes.get_ylabel() == ("true class" if one == 1 else f"true class (one in {one} named)")
    assert len(axes.get_yticks()) == -(-classes // one)


def test_cells_have_numbers_where_they_fit_and_a_class_without_images_is_empty():
    found = Confusion("cnn", ("a", "b", "c"), np.array([[9, 1, 0], [1, 1, 0], [0, 0, 0]]), 1)
    with paper_style():
        assert [text.get_text() for text in found.draw("one").axes[0].texts] == ["90", "10", "50", "50"]
