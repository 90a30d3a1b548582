"""Each setting against the metric."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hwcls.figures.drawable import NothingToShow
from hwcls.figures.metric_axis import MetricAxis
from hwcls.figures.slices import MAX_PANELS, Slices, collect_slices
from hwcls.results.load import load_results
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.records import Result

SPACE = {
    "data": {"name": "digits", "batch_size": {"values": [8, 16, 32]}},
    "model": {"choice": {"cnn": {"name": "simple_cnn"}, "mlp": {"name": "mlp", "depth": {"min": 1, "max": 3}}}},
    "optimizer": {"name": "adam", "lr": {"min": 1e-4, "max": 1e-1, "log": True}},
}


@pytest.fixture
def write(tmp_path, results: SimpleNamespace):
    """Writes trials with settings: (label, value, settings)."""

    def write(*trials):
        sweep: SweepFolder = results.sweep(tmp_path, parameters=SPACE)
        for number, (label, value, settings) in enumerate(trials):
            folder = sweep.trial(number)
            results.trial(folder, [value], label=label)
            best = {"epoch": 1, "val/accuracy": value}
            folder.write_result(Result("complete", best, label, {"model": label, **settings}, 1.0))
        return collect_slices(load_results(tmp_path))

    return write


def test_numbers_categories_and_steps(write):
    found = write(
        ("cnn", 0.9, {"lr": 0.001, "batch_size": 8}),
        ("mlp", 0.8, {"lr": 0.01, "batch_size": 32, "depth": 3}),
        ("mlp", 0.7, {"lr": 0.1, "batch_size": 8, "depth": 1}),
    )
    panels = {panel.setting: panel for panel in found.panels}
    assert set(panels) == {"lr", "batch_size", "depth"}  # the alternative is the colour
    assert panels["lr"].log
    assert panels["lr"].points == {"cnn": ((0.001, 0.9),), "mlp": ((0.01, 0.8), (0.1, 0.7))}
    assert panels["batch_size"].categories == ("8", "32")
    assert panels["batch_size"].points == {"cnn": ((0.0, 0.9),), "mlp": ((1.0, 0.8), (0.0, 0.7))}
    assert panels["depth"].categories == ("1", "3")
    assert list(panels["depth"].points) == ["mlp"]
    assert found.caption == "Best validation accuracy of 3 trials by setting; a dot is a trial."


def test_a_range_that_no_file_tells_is_logarithmic_if_it_spans_powers_of_ten(write):
    values = [10.0**-place for place in range(14)]
    trials = [("cnn", 0.5 + place / 100, {"x": x, "y": 1 + place / 10}) for place, x in enumerate(values)]
    assert {panel.setting: panel.log for panel in write(*trials).panels} == {"x": True, "y": False}


def test_powers_of_ten_are_written_as_in_a_sweep_file(write):
    found = write(*(("cnn", 0.5 + place / 10, {"lr": 10.0**-place}) for place in range(2, 8)))
    (axes,) = found.draw("one").axes
    texts = [one.get_text() for one in axes.get_xticklabels()]
    assert {"1e-6", "0.0001", "0.01"} <= set(texts)


def test_what_has_no_order_and_too_many_values_is_left_out_and_said(write):
    found = write(*(("cnn", 0.5, {"words": f"w{place}", "lr": 0.01 + place / 1000}) for place in range(20)))
    assert [panel.setting for panel in found.panels] == ["lr"]
    assert found.caption.endswith("Not shown: words.")


def test_at_most_so_many_panels(write):
    names = [f"s{place:02}" for place in range(MAX_PANELS + 2)]
    found = write(*(("cnn", 0.5, dict.fromkeys(names, value)) for value in (1, 2)))
    assert [panel.setting for panel in found.panels] == names[:MAX_PANELS]
    assert found.left_out == tuple(names[MAX_PANELS:])


@pytest.mark.parametrize(
    ("values", "sign", "end"),
    [
        ((0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.1), 1, 0.9),
        ((0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.89), 1, None),
        ((0.1, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17, 0.18, 2.0), -1, 0.18),
        ((0.5,), 1, None),
        ((0.5, 0.5), 1, None),
    ],
)
def test_bad_trials_do_not_set_the_axis(values, sign, end):
    found = Slices(MetricAxis("val/accuracy"), {}, {}, (), (), values, sign)
    assert found.worst_shown() == end
    assert ("Hollow: 1 trial beyond the axis" in found.caption) == (end is not None)


def test_nothing_where_trials_do_not_differ(write):
    with pytest.raises(NothingToShow, match="do not differ in a setting"):
        write(("cnn", 0.5, {}), ("mlp", 0.6, {}))


def test_nothing_without_a_value(tmp_path, results):
    results.sweep(tmp_path)
    with pytest.raises(NothingToShow, match="no trial has a value yet"):
        collect_slices(load_results(tmp_path))
