"""The page's sentences on the data, from what data.json records."""

from __future__ import annotations

import pytest

from hwcls import files
from hwcls.report.html.charts.search import epochs_spent
from hwcls.report.html.data_facts import collect_data_facts
from hwcls.report.html.page import write_page
from hwcls.report.html.run_facts import collect_facts
from hwcls.results.load import load_results

CUT = {
    "name": "imagefolder",
    "classes": ["cat", "dog"],
    "train": 360,
    "val": 40,
    "test": 100,
    "per_class": [150, 210],
    "image_size": 64,
    "channels": 3,
    "test_from": "train",
    "val_from": "train",
    "test_share": 0.2,
    "val_share": 0.1,
    "split_seed": 3,
    "together": {"groups": 0, "copies": 12},
    "duplicates": "near",
}
TEST = "test: 20 % of the images, cut by hwcls (seed 3), stratified"
VAL = "val: 10 % of the other images, in the same way"
ALONE = "val: 10 % of the training images, cut by hwcls (seed 3), stratified"
GIVEN = "test: as the data has it"


def described(tmp_path, **changes):
    found = {key: value for key, value in {**CUT, **changes}.items() if value is not None}
    return dict(collect_data_facts(found, tmp_path))["Test and val"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, f"{TEST}; {VAL}; near copies kept together (12 images are copies)"),
        ({"together": {"groups": 7, "copies": 1}}, "copies and groups kept together (7 groups, 1 image is a copy)"),
        ({"together": {"groups": 1, "copies": 0}}, "near copies and groups kept together (1 group)"),
        ({"together": None, "duplicates": "exact"}, "in the same way; copies kept together"),
        ({"test_from": "test"}, f"{GIVEN}; {ALONE}; near copies"),
        ({"val_from": "val"}, f"{TEST}; val: as the data has it; near copies"),
        ({"val_from": "val", "test_from": "test"}, f"{GIVEN}; val: as the data has it"),
    ],
)
def test_how_test_and_val_came_to_be_is_said(tmp_path, changes, expected):
    found = described(tmp_path, **changes)
    assert expected in found
    if changes.get("val_from") == changes.get("test_from", "train") != "train":
        assert found == expected  # nothing was cut, so nothing was kept together
    assert "splits.csv" not in found


def test_own_images_have_the_name_of_their_folder(tmp_path):
    own = {**CUT, "path": "/photos/streets/images"}
    assert dict(collect_data_facts(own, tmp_path))["Data"] == "streets, 360 train, 40 val, 100 test, 2 classes"
    assert dict(collect_data_facts(CUT, tmp_path))["Data"].startswith("imagefolder, ")  # the path is not known


def test_an_earlier_version_has_its_one_sentence(tmp_path):
    names = ("test_from", "test_share", "val_share", "split_seed", "together", "duplicates")
    earlier = {key: value for key, value in CUT.items() if key not in names}
    found = dict(collect_data_facts(earlier, tmp_path))
    assert list(found) == ["Data", "Training images per class", "Images"]
    assert found["Images"] == "64 x 64, RGB; val is split off train"
    assert dict(collect_data_facts({**earlier, "val_from": "val"}, tmp_path))["Images"].endswith(
        "val as the data set has it"
    )
    assert collect_data_facts({}, tmp_path) == []


def test_how_the_files_were_read_and_the_reason_of_the_size_are_said(tmp_path):
    data = {**CUT, "found": ["labels from labels.csv, column <b>", "a"], "image_size_reason": "the median is 90 x 80"}
    found = dict(collect_data_facts(data, tmp_path))
    assert found["How the files were read"] == "labels from labels.csv, column <b>; a"
    assert found["Images"] == "64 x 64, RGB; the median is 90 x 80"
    both = {**data, "models": ["cnn"], "others": [{**data, "models": ["lite", "vit"], "interpolation": "bicubic"}]}
    assert dict(collect_data_facts(both, tmp_path))["Images"] == (
        "for cnn: 64 x 64, RGB; for lite and vit: 64 x 64, RGB, bicubic; the median is 90 x 80"  # the reason once
    )


def test_the_images_of_each_part_of_the_data_are_counted(tmp_path):
    parts = {**CUT, "models": ["mlp"], "others": [{**CUT, "train": 720, "per_class": [300, 420], "models": ["mlp"]}]}
    found = dict(collect_data_facts(parts, tmp_path))
    assert found["Data"] == (
        "imagefolder, 360 train, 40 val, 100 test, 2 classes; imagefolder, 720 train, 40 val, 100 test, 2 classes"
    )
    assert found["Training images per class"] == "150 to 210; 300 to 420"
    assert found["Images"] == "64 x 64, RGB"  # once, as they are the same for all
    same = {**parts, "others": [{**CUT, "models": ["cnn"], "image_size": 32}]}
    assert dict(collect_data_facts(same, tmp_path)) == {
        **dict(collect_data_facts(CUT, tmp_path)),
        "Images": "for mlp: 64 x 64, RGB; for cnn: 32 x 32, RGB",
    }


def test_the_images_per_class_are_in_the_order_of_the_splits(tmp_path):
    """Also where parts share their splits, or an earlier version recorded no classes."""
    shared, larger = {**CUT, "per_class": [140, 220]}, {**CUT, "train": 720, "per_class": [300, 420]}
    unknown = {**CUT, "train": 90, "per_class": None}
    found = dict(collect_data_facts({**unknown, "others": [CUT, larger, shared]}, tmp_path))
    assert [text.split(", ")[1] for text in found["Data"].split("; ")] == ["90 train", "360 train", "720 train"]
    assert found["Training images per class"] == "not recorded; 150 to 210 or 140 to 220; 300 to 420"
    assert "Training images per class" not in dict(collect_data_facts({**unknown, "others": [unknown]}, tmp_path))


def test_the_page_names_the_splits_and_escapes_what_files_say(results, tmp_path):

    results.full(tmp_path)
    (tmp_path / "splits.csv").write_text("file_name,label,split\n")
    evil = "labels from <img src=x onerror=alert(1)>\x1b[2J"
    files.write_json(tmp_path / "data.json", {**CUT, "found": [evil]})
    page = write_page(tmp_path).read_text("utf-8")
    assert "cut by hwcls (seed 3), stratified" in page
    assert "The split of each image is in splits.csv of the results folder</dd>" in page
    assert 'splits.csv"' not in page  # `hwcls serve` has the page alone: a link would lead nowhere
    assert "&lt;img src=x" in page
    assert "<img src=x" not in page
    assert "\x1b" not in page


@pytest.mark.parametrize(
    ("early", "named"),
    [
        ("asha", "asha, "),
        ({"eta": 4}, "asha, "),
        ({"type": "median"}, "median, "),
        ("none", ""),
        ("None", ""),
        (None, ""),
    ],
)
def test_the_search_names_its_early_stopping_and_the_budget_has_a_unit(results, tmp_path, early, named):
    sweep = results.sweep(tmp_path, early_terminate=early, budget=5400, run_cap=1, method="auto")
    results.trial(sweep.trial(0), [0.5])
    found = load_results(tmp_path)
    facts = dict(collect_facts(found))
    assert facts["Search"] == f"auto, {named}maximize val/accuracy"
    assert facts["Budget"] == "1 trial, 1 h 30 min, shared by the alternatives of model"
    assert bool(epochs_spent(found)["caption"]) == bool(named)  # it explains rungs


def test_the_machine_and_the_commit_are_in_words(results, tmp_path):
    results.sweep(tmp_path)
    recorded = {"hardware": {"system": "Linux", "gpus": []}, "git": {"commit": "abc1234", "changed": False}}
    files.write_json(tmp_path / "environment.json", recorded)
    facts = dict(collect_facts(load_results(tmp_path)))
    assert facts["Hardware"] == "system Linux, no GPU"
    assert facts["Git"] == "commit abc1234, without uncommitted changes"
