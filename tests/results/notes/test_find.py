"""Classes that nothing judges and probabilities that are NaN are named wherever results are shown."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from hwcls import files
from hwcls.report.html.page import write_page
from hwcls.report.terminal.leaderboard import print_leaderboard
from hwcls.results.compare import build_summary
from hwcls.results.load import load_results
from hwcls.results.notes.find import find_notes
from hwcls.training.artifacts import load_arrays, save_arrays

COUNTS = {"train": [40, 41, 2], "val": [15, 15, 0], "test": [30, 30, 0]}


@pytest.fixture
def sweep(results, tmp_path):
    """Class c has no image in val and none in test."""
    folder = results.sweep(tmp_path)
    data = {"name": "mine", "classes": ["a", "b", "c"], "images_per_class": COUNTS}
    files.write_json(tmp_path / "data.json", data)
    results.trial(folder.trial(0), [0.9])
    results.seen(folder.trial(0), 0.9, unjudged=1)
    return folder


def test_a_class_that_nothing_judges_is_named(sweep):
    found = load_results(sweep.path)
    val, test = find_notes(found)
    assert val.startswith("No val image of c (2 in train): no val metric judges it")
    assert test.startswith("No test image of c (2 in train): no test metric judges it")
    assert val.endswith("Averages over classes leave them out.")
    assert build_summary(found)["notes"] == [val, test]
    console = Console(file=io.StringIO(), width=300)
    print_leaderboard(found, console)
    assert f"note: {val}" in console.file.getvalue()
    page = write_page(sweep.path).read_text("utf-8")
    assert "No val image of c (2 in train)" in page
    assert "macro mean of 2 of 3 classes" in page
    assert (
        '<tr><th scope="row">c</th><td class="n" data-sort="0">0</td>\n<td class="n first" data-sort="">–</td>' in page
    )


def test_results_that_did_not_record_it_are_judged_by_predictions(sweep):
    files.write_json(sweep.path / "data.json", {"name": "mine", "classes": ["a", "b", "c"]})
    assert find_notes(load_results(sweep.path)) == [
        "No val image of c: no val metric judges them. Averages over classes leave them out."
    ]


@pytest.mark.parametrize("counts", [3, {"val": [1]}, {"train": [1, 2], "val": "x", "test": []}, None])
def test_odd_counts_are_no_error(sweep, counts):
    files.write_json(sweep.path / "data.json", {"name": "mine", "classes": ["a", "b", "c"], "images_per_class": counts})
    find_notes(load_results(sweep.path))


def test_a_winner_is_judged_by_the_classes_with_test_images(results, tmp_path):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.9)
    for run in load_results(tmp_path).confirm:
        path = run.run.folder / "test_predictions.npz"
        stored = load_arrays(path)
        kept = stored["labels"] < 2  # class 2 is predicted, and never true
        save_arrays(path, labels=stored["labels"][kept], scores=stored["scores"][kept])
    found = json.loads(json.dumps(build_summary(load_results(tmp_path)), allow_nan=False))["classes"]
    assert [(row["class"], row["images"], row["f1"] is None) for row in found] == [
        ("0", 134, False),
        ("1", 133, False),
        ("2", 0, True),
    ]
    assert "macro mean of 2 of 3 classes" in write_page(tmp_path).read_text("utf-8")


def test_probabilities_that_are_nan_are_counted_and_named(results, tmp_path):
    sweep = results.full(tmp_path)
    results.seen(sweep.trial(1), 0.9)
    results.confirm(sweep, "resnet", 0.9, seeds=2)
    for path in (
        sweep.trial(1).path / "predictions.npz",
        sweep.confirm_run("resnet", 1000).path / "test_predictions.npz",
    ):
        stored = load_arrays(path)
        stored["scores"][:7] = np.nan
        save_arrays(path, **stored)
    found = load_results(tmp_path)
    assert [note for note in find_notes(found) if "NaN" in note] == [
        "Trial 1 has no probabilities (NaN) for 7 val images: they count as wrong.",
        "The confirm runs of resnet have no probabilities (NaN) for 7 test images together: they count as wrong.",
    ]
    write_page(tmp_path)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"fraction": 0.256}, "25.6 % of the training images: --set parameters.data.fraction=1 uses all."),
        (
            {"fraction": 0.5, "per_class": 1000},
            "50 % of at most 1,000 training images of each class:"
            " --set parameters.data.per_class=null --set parameters.data.fraction=1 uses all.",
        ),
        ({"fraction": 1.0, "per_class": None}, None),
        ({"fraction": "half"}, None),
    ],
)
def test_a_model_of_a_part_of_the_training_images_is_named(results, tmp_path, data, expected):
    folder = results.sweep(tmp_path)
    results.trial(folder.trial(0), [0.9])
    config = folder.trial(0).settings()
    files.write_yaml(folder.trial(0).path / "config.yaml", config | {"data": config["data"] | data})
    notes = [note for note in find_notes(load_results(tmp_path)) if "trained on" in note]
    assert notes == ([f"The best model was trained on {expected}"] if expected else [])
    page = write_page(tmp_path).read_text("utf-8")
    assert expected in page if expected else "uses all" not in page
