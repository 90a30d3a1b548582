"""The text of a sweep file."""

import pytest
import yaml

from hwcls.config.yaml_source import read_source
from hwcls.init.plan import Choice, Plan
from hwcls.init.render import flow, render


def text(*choices, title="two photos"):
    return render(Plan(title, choices, 90.0, 90.0, {}))


def test_the_file():
    found = text(
        Choice("name", "photos", "why"),
        Choice("parameters.data.path", "my photos/", ""),
        Choice("parameters.data.augment", {"hflip": True}, "switch on", active=False),
        Choice("parameters.model.choice.cnn", {"width": {"values": [8, 16]}}, "w" * 100),
        Choice("parameters.epochs", 5, "b"),
    )
    assert found == (
        "# two photos\n"
        "# About 1 min 30 s. Every line can be changed; hwcls explain-key explains it.\n"
        "name: photos                                  # why\n"
        "parameters:\n"
        "  data:\n"
        '    path: "my photos/"\n'
        "    # augment: {hflip: true}                  # switch on\n"
        "  model:\n"
        "    choice:\n"
        f"      # {'w' * 100}\n"
        "      cnn: {width: {values: [8, 16]}}\n"
        "  epochs: 5                                   # b\n"
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1, "1"),
        (True, "true"),
        (None, "null"),
        (0.0, "0.0"),
        (0.25, "0.25"),
        (3e-4, "3e-4"),
        (1.5e-5, "1.5e-5"),
        (10.0, "10.0"),
        ("yes", '"yes"'),
        ("1h26m", "1h26m"),
        ("2024", '"2024"'),
        ("photos/", "photos/"),
    ],
)
def test_values(value, written):
    assert flow(value) == written


@pytest.mark.parametrize(
    "path",
    [
        "a, b",
        "a: b",
        "#x",
        "{x}",
        "[x]",
        "'",
        '"',
        "\n",
        "null",
        "1e3",
        ".5",
        "-",
        "*a",
        "&a",
        "a b",
        "~",
        "../b",
        "/c/d",
        "x:",
        "true",
        "é",
        "写真",
        "",
    ],
)
def test_any_text_is_read_back(path, tmp_path):
    (tmp_path / "it.yaml").write_text(text(Choice("a", path, ""), Choice("b", {"c": [path]}, "")), "utf-8")
    assert read_source(tmp_path / "it.yaml").values == {"a": path, "b": {"c": [path]}}


@pytest.mark.parametrize("why", ["a\nname: other", "a\x85name: other", "a\u2028name: other", "a\r\nname: other"])
def test_a_reason_stays_a_comment(why):
    found = text(Choice("name", "mine", why), Choice("method", "tpe", why * 20), title=why)
    assert yaml.safe_load(found) == {"name": "mine", "method": "tpe"}
