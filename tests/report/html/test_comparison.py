"""Two sweeps on one page."""

from __future__ import annotations

import re

import pytest

from hwcls import files
from hwcls.errors import UserError
from hwcls.reading import read_yaml
from hwcls.report.html.comparison import find_differences, list_entries, write_comparison

EVIL = "<script>alert(1)</script>"


def read(path):
    text = re.sub(r"(?s)<style>.*?</style>", "", path.read_text("utf-8"))
    return " ".join(re.sub("<[^>]+>", " ", text).split())


@pytest.fixture
def folders(results, tmp_path):
    first = results.sweep(tmp_path / "first", compare="model", run_cap=3)
    second = results.sweep(tmp_path / "second", compare="model", run_cap=9)
    results.trial(first.trial(0), [0.5], label="mlp", lr=0.1)
    results.trial(second.trial(0), [0.8], label="mlp", lr=0.2)
    results.trial(second.trial(1), [0.7], label=EVIL)
    return first.path, second.path


def test_files_answers_and_winners_are_compared(folders):
    path = write_comparison(*folders)
    assert path == folders[0] / "comparison-second.html"
    text = read(path)
    assert "entry first second run_cap 3 9" in text
    assert "setting first second lr 0.1 0.2" in text
    assert "first: mlp (trial 0), val/accuracy 0.5" in text
    assert text.count("Best on val/accuracy: mlp with") == 2


def test_the_page_is_escaped_and_loads_nothing(folders):
    text = write_comparison(*folders).read_text("utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert not re.search(r"\bsrc=|<link", text)


def test_a_sweep_without_a_value_and_the_same_file(results, tmp_path):
    for name in ("a", "b"):
        results.sweep(tmp_path / name, name="same")
    text = read(write_comparison(tmp_path / "a", tmp_path / "b"))
    assert "The sweep files are the same." in text
    assert "a: no trial has a value yet" in text


def test_other_data_is_a_caution(results, folders):
    (folders[1] / "data.json").write_text('{"name": "other", "classes": ["x", "y", "z"]}')
    assert "second uses other data than first: their values cannot be compared." in read(write_comparison(*folders))


def test_photos_of_another_folder_are_other_data(folders):
    """Of earlier versions too, whose data.json has no path."""
    for folder, path in zip(folders, ("/data/streets", "/data/microscope"), strict=True):
        (folder / "data.json").write_text('{"name": "imagefolder", "classes": ["bad", "good"]}')
        config = folder / "trials" / "0" / "config.yaml"
        files.write_yaml(config, {**read_yaml(config), "data": {"name": "imagefolder", "path": path}})
    caution = "second uses other data than first: their values cannot be compared."
    assert caution in read(write_comparison(*folders))


def test_what_is_no_results_folder_is_an_error(folders, tmp_path):
    with pytest.raises(UserError):
        write_comparison(folders[0], tmp_path / "none")


def test_differences_name_what_one_lacks():
    assert find_differences({"a": 1, "b": 2}, {"a": 1, "c": 3}) == [("b", 2, None), ("c", None, 3)]


def test_entries_have_their_paths():
    space = {"lr": {"min": 1, "max": 2}, "width": {"min": 3, "values": [4, 5]}}
    notes = {"x-changes": {"log": [{"when": "now"}]}, "x-mine": 1}
    found = list_entries({"parameters": space, "confirm": {"top": 3}, "presets": {}, **notes})
    assert found == {
        "parameters.lr.min": 1,
        "parameters.lr.max": 2,
        "parameters.width.min": 3,
        "parameters.width.values": "4, 5",
        "confirm.top": 3,
        "presets": {},
    }
