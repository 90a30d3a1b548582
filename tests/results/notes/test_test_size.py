"""A test split that is too small to tell models apart is named, with the number of images that would do."""

from __future__ import annotations

import re

import pytest

from hwcls import files
from hwcls.results.load import load_results
from hwcls.results.notes.find import find_notes
from hwcls.results.notes.test_size import describe_test_size, judge_test_size, split_notes


@pytest.mark.parametrize(
    ("images", "known", "expected"),
    [
        (
            40,
            {},
            "test has 40 images: too few to tell models apart by less than 20 points; about 630 would tell 5 points",
        ),
        (40, {"accuracy": 0.93}, "test has 40 images: too few to tell models apart by less than 25 points; about 540"),
        (40, {"disagreement": 0.1}, "models apart by less than 19 points; about 310 would tell 5 points"),
        (78, {"disagreement": 0.2}, "models apart by less than 14 points"),  # 100 * 0.14 is a little more than 14
        (1, {}, "test has 1 image: too few to tell any two models apart; about 630 would tell 5 points (if they"),
    ],
)
def test_a_small_test_split_is_named(images, known, expected):
    found = describe_test_size(images, **known)
    assert expected in found
    assert ("disagree on a fifth" in found) == (not known)


def test_where_test_is_large_enough_nothing_is_said():
    assert describe_test_size(626) is None
    assert describe_test_size(155, disagreement=0.02) is None
    counts = {"train": [500, 400], "val": [50, 40], "test": [400, 300]}
    assert split_notes("imagefolder", ["a", "b"], counts) == []
    counts["test"] = [12, 0]
    unjudged, few = split_notes("imagefolder", ["a", "b"], counts)
    assert unjudged.startswith("no test image of b")
    assert few.startswith("test has 12 images: too few")
    assert split_notes("digits", ["a", "b"], counts) == [unjudged]  # nobody adds images to them


def test_results_are_judged_by_how_often_the_two_best_winners_disagree_on_test(results, tmp_path):
    sweep = results.overtaken(tmp_path)  # 400 test images; hits of 95 % and 75 %, drawn independently
    files.write_json(tmp_path / "data.json", {"name": "mine", "classes": ["a", "b", "c"], "test": 400})
    (note,) = find_notes(load_results(tmp_path))
    assert re.fullmatch(
        r"Test has 400 images: too few to tell models apart by less than 8 points; about 850 would tell 5 points"
        r" \(the two best disagree on 2[67]\.\d % of the images\)\.",
        note,
    )
    for run in sweep.path.glob("confirm/cnn/*/test_predictions.npz"):  # now both are right on the same images
        other = next(sweep.path.glob("confirm/mlp/*/test_predictions.npz"))
        run.write_bytes(other.read_bytes())
    for run in sweep.path.glob("confirm/mlp/*/test_predictions.npz"):
        run.write_bytes(other.read_bytes())
    assert find_notes(load_results(tmp_path)) == []


def test_the_two_best_on_test_need_not_be_those_of_the_search(results, tmp_path):
    sweep = results.sweep(tmp_path)
    files.write_json(tmp_path / "data.json", {"name": "mine", "classes": ["a", "b", "c"], "test": 400})
    for number, (label, value, rate) in enumerate([("cnn", 0.9, 0.4), ("mlp", 0.8, 1.0), ("vit", 0.7, 1.0)]):
        results.trial(sweep.trial(number), [value], label=label)
        results.confirm(sweep, label, rate, trial=number, seeds=1, role="report")
    assert judge_test_size(load_results(tmp_path)) is None  # mlp and vit are right on the same images


def test_without_confirm_runs_it_is_how_often_they_disagree_on_val(results, tmp_path):
    sweep = results.sweep(tmp_path)
    files.write_json(tmp_path / "data.json", {"name": "mine", "classes": ["a", "b", "c"], "test": 200})
    for number, label in enumerate(("resnet", "mlp")):
        results.trial(sweep.trial(number), [0.9], label=label)
        results.seen(sweep.trial(number), 0.9)
    assert judge_test_size(load_results(tmp_path)) is None  # the same predictions
    results.seen(sweep.trial(1), 0.5)
    assert "about 1," in judge_test_size(load_results(tmp_path))


def test_a_single_alternative_is_judged_by_its_accuracy(results, tmp_path):
    sweep = results.sweep(tmp_path, compare=None)
    files.write_json(tmp_path / "data.json", {"name": "mine", "classes": ["a", "b", "c"], "test": 200})
    results.trial(sweep.trial(0), [0.5, 0.93], label=None)
    assert judge_test_size(load_results(tmp_path)) == describe_test_size(200, accuracy=0.93)
    note = judge_test_size(load_results(tmp_path))
    assert note.endswith(
        "about 540 would tell 5 points (if another model, about as good as this one with 93.0 %, errs independently)"
    )


@pytest.mark.parametrize("test", [None, 0, "many", [3]])
def test_a_size_that_is_not_recorded_is_not_judged(results, tmp_path, test):
    sweep = results.sweep(tmp_path)
    files.write_json(tmp_path / "data.json", {"name": "mine", "classes": ["a", "b", "c"], "test": test})
    results.trial(sweep.trial(0), [0.9])
    assert judge_test_size(load_results(tmp_path)) is None
    assert not any(note.startswith("Test has") for note in find_notes(load_results(tmp_path)))
