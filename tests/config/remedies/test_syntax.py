"""A mistake in the YAML of a sweep file is explained in plain words, in the line where it is."""

import pytest

from hwcls.config.yaml_source import parse_value, read_source
from hwcls.errors import UserError

INDENT = "indent it as the other entries of its section"
COLON = "write a colon and a space after the key"
COMMA = "is not closed, or a comma is missing between its entries — close it with"
ALIKE = "an item of a list ('- ...') and a 'key: value' entry are indented alike"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\n  b: 2\n", f"2: 'b: 2' is indented by 2 spaces, the entries above by 0 — {INDENT}"),
        ("a: {x: 1}\n  b: 2\n", f"2: 'b: 2' is indented by 2 spaces, the entries above by 0 — {INDENT}"),
        (
            "a:\n  b:\n    c: 1\n   d: 2\n",
            f"4: 'd: 2' is indented by 3 spaces, the entries above by 0, 2 or 4 — {INDENT}",
        ),
        ("a:\n    b: 1\n# x\n\n c: 2\n", f"5: 'c: 2' is indented by 1 space, the entries above by 0 or 4 — {INDENT}"),
        (" a: 1\nb: 2\n", f"2: 'b: 2' is indented by 0 spaces, the entries above by 1 — {INDENT}"),
        ("a:\n  - b: 1\n     c: 2\n", f"3: 'c: 2' is indented by 5 spaces, the entries above by 0, 2 or 4 — {INDENT}"),
        ("a:\n  - - b: 1\n   - c\n", f"3: '- c' is indented by 3 spaces, the entries above by 0, 2, 4 or 6 — {INDENT}"),
        ("a:\n  b: 1\n  - c\n", f"3: {ALIKE}"),
        ("a:\n  - c\n  b: 1\n", f"3: {ALIKE}"),
        ("a: 1\nb 2\nc: 3\n", f"2: 'b 2' is no 'key: value' entry — {COLON}"),
        ("a:1\nb: 2\n", f"1: 'a:1' is no 'key: value' entry — {COLON}"),
        ("a\n  b: 1\n", f"1: 'a' is no 'key: value' entry — {COLON}"),
        ("a: b: c\n", "1: a second ': ' in one line — put a text with a colon into quotes"),
        ("a:\n\tb: 1\n", "2: a tab is not allowed here — indent with spaces"),
        ("a: [1, 2\nb: 3\n", f"1: the '[' {COMMA} ']'"),
        ("a:\n  b: {x: 1 y: 2}\n", f"2: the '{{' {COMMA} '}}'"),
        ("a: [1, 2}\n", "1: the '[' is closed by '}' — write ']'"),
        ("a: [1,,2]\n", "1: a value is missing before ','"),
        ("a: [1, 2]]\n", "1: the ']' closes nothing — remove it"),
        ("a: 'b' c\n", "1: something follows a value in quotes or brackets"),
        ("a: 1\nb: 'c\nd: 1\n", "2: the quote ' is never closed — close it with '"),
        ('a: "C:\\photos"\n', "1: a backslash in double quotes has a meaning of its own — use single quotes"),
        ("a: @b\n", "1: a text cannot begin with '@' — put it into quotes"),
        ("a: , b\n", "1: a text cannot begin with ',' — put it into quotes"),
        ("a: * b\n", "1: a text cannot begin with '*' — put it into quotes"),
        ("a: >= 3\n", "1: a text cannot begin with '>' — put it into quotes"),
        ("a: *b\n", "1: '*' refers to an anchor, and no '&b' is above — put a text that begins with * into quotes"),
        ("a: - b\n", "1: an item of a list ('- ...') cannot begin here — write each item on a line of its own"),
        ("a: 1\n---\nb: 2\n", "2: '---' begins a second document — remove it"),
    ],
)
def test_each_mistake_has_its_line_and_remedy(tmp_path, text, message):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        read_source(path)
    assert str(raised.value).startswith(f"{path}:{message}")


def test_a_mistake_in_an_option_has_no_line():
    with pytest.raises(UserError, match=r"^--set a: the '\[' is not closed"):
        parse_value("[1, 2", "--set a")


def test_a_long_line_is_shortened(tmp_path):
    (tmp_path / "s.yaml").write_text(f"a: 1\n{'b' * 60} 2\nc: 3\n")
    with pytest.raises(UserError, match=rf"s\.yaml:2: '{'b' * 37}\.\.\.' is no"):
        read_source(tmp_path / "s.yaml")
