"""Predictions as CSV, JSON and JSON lines."""

import csv
import io
import json
from pathlib import Path

import pytest

from hwcls.errors import UserError
from hwcls.inspection.prediction_output import OutputFormat, format_of, format_predictions
from hwcls.inspection.predictions import Prediction, by_uncertainty, folder_class

FOUND = [
    Prediction("=1+1.png", (("+cat", 0.75), ("dog", 0.25)), 0.5, 0.5623351446),
    Prediction("bad\x1b.png", error="is empty"),
    Prediction("c.png", (("dog", 0.5), ("+cat", 0.5)), 0.0, 0.6931471806, explanation="out/c.png"),
]


def text(kind, predictions=FOUND, **options):
    return "".join(format_predictions(iter(predictions), kind, 2, **options))


def test_csv():
    assert text(OutputFormat.csv) == (
        "file,class,probability,class_2,probability_2,margin,entropy,error\n"
        "'=1+1.png,'+cat,0.75,dog,0.25,0.5,0.562335,\n"
        "bad\\x1b.png,,,,,,,is empty\n"
        "c.png,dog,0.5,'+cat,0.5,0.0,0.693147,\n"
    )
    rows = list(csv.DictReader(io.StringIO(text(OutputFormat.csv, explained=True))))
    assert [row["explanation"] for row in rows] == ["", "", "out/c.png"]


def test_json_and_json_lines_hold_the_same():
    whole = json.loads(text(OutputFormat.json))
    assert whole == [json.loads(line) for line in text(OutputFormat.jsonl).splitlines()]
    assert whole == json.loads(json.dumps([one.to_dict() for one in FOUND]))
    assert whole[0] == {
        "file": "=1+1.png",
        "top": [{"class": "+cat", "probability": 0.75}, {"class": "dog", "probability": 0.25}],
        "margin": 0.5,
        "entropy": 0.5623351446,
    }
    assert whole[1] == {"file": "bad\x1b.png", "error": "is empty"}
    assert json.loads(text(OutputFormat.json, [])) == []


@pytest.mark.parametrize("kind", OutputFormat)
def test_each_line_comes_as_soon_as_its_image_is_classified(kind):
    def endless():
        while True:
            yield FOUND[0]

    pieces = format_predictions(endless(), kind, 2)
    assert sum("cat" in next(pieces) for _ in range(5)) >= 4


def test_the_ending_names_the_format():
    assert [format_of(Path(name)) for name in ("a.csv", "b.JSON", "c.jsonl")] == ["csv", "json", "jsonl"]
    with pytest.raises(UserError, match=r"a\.txt: has no known ending — known: \.csv, \.json, \.jsonl"):
        format_of(Path("a.txt"))


def test_the_least_certain_first():
    assert [one.file for one in by_uncertainty(FOUND)] == ["c.png", "=1+1.png", "bad\x1b.png"]


def test_the_class_that_a_folder_names():
    classes = {"cat", "Greek/alpha", "caf\u00e9"}
    files = ("x/cat/1.jpg", "Greek/alpha/1.jpg", "http://h/cat/1.jpg", "cafe\u0301/1.jpg", "cat.jpg", "x/dog/1.jpg")
    assert [folder_class(file, classes) for file in files] == ["cat", "Greek/alpha", "cat", "caf\u00e9", None, None]


def test_the_class_that_several_folders_name():
    for name in ("a/b/c", "a/b/c/d/e/f/g/h/i"):  # as deep as class_depth goes
        assert folder_class(f"photos/{name}/1.jpg", {name, "a/b/d"}) == name
        assert folder_class(f"{name}/1.jpg", {name}) == name
    assert folder_class("photos/a/b/x/1.jpg", {"a/b/c"}) is None
